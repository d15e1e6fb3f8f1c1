"""Places that are given and not used, nodes that are new while many wait, and slots that nobody holds yet."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from gateway.admission.line import Rank
from gateway.admission.tickets import Place
from gateway.attempts import Attempts
from gateway.groups import Candidate
from relay.errors import ApiError, TooManyRequests
from tests.gateway.admission.house import House
from tests.gateway.searching import CHAT, candidate
from tests.programs import until


async def test_a_client_that_leaves_as_it_is_given_the_probe_leaves_it_to_the_next_one(house: House) -> None:
    node, clock, ahead = house.nodes["a"], house.admission._clock, 0.0
    house.admission._clock = lambda: clock() + ahead  # type: ignore[misc]
    house.balance.unreachable(node, clock())
    leaving = await house.waits("x", "a")
    ahead = 2.0
    house.admission._tick()
    assert house.admission.in_flight == 1, "it is given the place, and has yet to hear of it"
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert house.balance.order([node], house.admission._clock()) == [node], "the next one may be the probe at once"


async def test_a_new_node_is_had_by_whose_turn_it_is_however_many_wait_before_them(house: House) -> None:
    clock, ahead = house.admission._clock, 0.0
    house.admission._clock = lambda: clock() + ahead  # type: ignore[misc]
    places, known = house.fill("a"), house.spots("a")
    greedy = [await house.waits(f"greedy{n}", "a", renew=lambda: known) for n in range(10) for _ in range(20)]
    pinned = [await house.waits(f"pinned{n}", "a") for n in range(10)]
    modest = await house.waits("modest", "a", renew=lambda: known)
    for n in range(10):
        places[0].line.begin(f"greedy{n}", 0.0)  # each of them has a request that runs already
    house.nodes["new"] = candidate("new")
    known = house.spots("a", "new")
    while not house.order:
        ahead += 1.1
        house.admission._tick()
        await asyncio.sleep(0)
        assert ahead < 10, "nobody is sent there"
    assert house.order[0] == "modest", "the others that may go there have more"
    for n in range(10):
        places[0].line.end(f"greedy{n}", 0.0, 0.0, well=False)
    tasks = [*greedy, *pinned, modest]
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    house.end(*places, *[each for each in found if isinstance(each, Place)])


async def test_what_is_told_counts_the_slots_of_a_node_that_is_idle(house: House) -> None:
    now = house.admission._clock()
    line = house.admission._line("m")
    line.begin("x", now - 6.0)
    line.end("x", now - 6.0, now, well=True)
    told = [house.admission.appoint(house.ticket(f"c{n}", "a"), now + 1.0) for n in range(4)]
    assert told == [3, 6, 9, 12], "each answer takes six seconds, and two are made at a time"


async def test_what_is_told_grows_by_what_a_turn_takes_though_seconds_are_whole(house: House) -> None:
    now = house.admission._clock()
    line = house.admission._line("m")
    line.begin("x", now - 3.0)
    line.end("x", now - 3.0, now, well=True)
    told = [house.admission.appoint(house.ticket(f"c{n}", "a"), now + 1.0) for n in range(40)]
    assert told[-1] == 60, "the fortieth turn of a second and a half"
    assert all(later - sooner in (1, 2) for sooner, later in pairwise(told))


async def test_whoever_came_back_as_it_was_told_goes_first_also_where_the_node_sends_it_away(house: House) -> None:
    attempts, asked = Attempts(house.balance, lambda _: None, admission=house.admission), []

    async def ask(node: Candidate) -> None:
        asked.append(node)
        raise TooManyRequests("others came first", code="busy", retry_after_s=1)

    places = house.fill("a")
    line = places[0].line
    house.admission._promises.make("m", "x", 0.0, house.admission._clock())
    task = asyncio.create_task(attempts.find(CHAT, [[house.nodes["a"]]], ask, (ApiError,), 30.0, "x"))
    await until(lambda: line.waiting == 1)
    house.end(places.pop())
    await until(lambda: asked and line.waiting == 1)
    assert [ticket.rank for ticket in line.everybody()] == [Rank.PROMISED]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    house.end(*places)
