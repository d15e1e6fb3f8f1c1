"""Requests that wait for room, over real nodes' counts: who is woken by what, and what is left when a client leaves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from math import inf

import pytest

from gateway.admission.admission import Admission
from gateway.admission.line import Rank
from gateway.admission.tickets import Place, Spots, Ticket
from gateway.balance import Balance
from gateway.groups import Candidate
from relay.errors import TooManyRequests
from tests.gateway.admission.house import ROOM, House
from tests.gateway.searching import candidate
from tests.programs import until


async def test_a_free_slot_is_taken_at_once_and_beyond_the_room_nobody_enters(house: House) -> None:
    places = house.fill("a")
    now = house.admission._clock()
    assert len(places) == ROOM
    assert house.admission.enter([house.nodes["a"]], "x", now) is None
    other = house.admission.enter([house.nodes["a"], house.nodes["b"]], "x", now)
    assert other is not None
    assert other.candidate is house.nodes["b"]
    house.end(*places, other)


async def test_a_request_that_ends_wakes_whose_turn_it_is_on_that_node(house: House) -> None:
    places = house.fill("a", "b")
    on_a, on_b = await house.waits("x", "a"), await house.waits("y", "b")
    both = await house.waits("z", "a", "b")
    house.end(places.pop())
    assert (await on_b) is not None
    house.end(places.pop())
    found = await both
    assert found is not None
    assert found.candidate is house.nodes["b"]
    house.end(places.pop(0))
    assert (await on_a) is not None
    assert house.order == ["y", "z", "x"]
    house.end(*places, await on_a, await on_b, await both)


async def test_whoever_comes_while_others_wait_does_not_pass_them(house: House) -> None:
    places = house.fill("a")
    waiting = await house.waits("x", "a")
    now = house.admission._clock()
    assert not house.admission.has_room(house.nodes["b"], now), "x may be going there, too"
    newcomer = await house.waits("y", "a", "b")
    assert (await newcomer) is not None, "x cannot use b, which is free"
    assert not waiting.done()
    house.end(*places)
    house.end(await waiting, await newcomer)


@pytest.mark.parametrize("when", ["waiting", "woken"])
async def test_a_client_that_leaves_frees_its_place_at_once(house: House, when: str) -> None:
    places = house.fill("a")
    leaving, staying = await house.waits("x", "a"), await house.waits("y", "a")
    if when == "woken":
        house.end(places.pop())
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert house.admission.waiting == (1 if when == "waiting" else 0)
    if when == "waiting":
        house.end(places.pop())
    assert (await staying) is not None
    house.end(*places, await staying)


async def test_a_wait_ends_with_its_limit_and_leaves_nothing(house: House) -> None:
    places = house.fill("a")
    assert (await (await house.waits("x", "a", limit_s=0.01))) is None
    assert (await (await house.waits("x", "a", limit_s=0.0))) is None
    assert house.admission.waiting == 0
    house.end(*places)


async def test_a_node_that_rested_is_had_again_without_anybody_telling(house: House) -> None:
    house.balance.busy(house.nodes["a"], TooManyRequests("", retry_after_s=1), house.admission._clock())
    waiting = await house.waits("x", "a")
    assert not waiting.done()
    place = await asyncio.wait_for(waiting, 90)
    house.end(place)


async def test_a_node_that_is_well_again_is_had_by_as_many_as_it_has_room_for(house: House) -> None:
    house.balance.unreachable(house.nodes["a"], house.admission._clock())
    waiting = [await house.waits(f"c{n}", "a") for n in range(ROOM + 2)]
    house.balance.reached(house.nodes["a"])
    await until(lambda: sum(task.done() for task in waiting) == ROOM)
    house.end(*[await task for task in waiting if task.done()])
    house.end(*[await task for task in waiting[ROOM:]])


async def test_a_node_that_is_new_is_used_by_those_that_wait_already(house: House) -> None:
    places = house.fill("a")
    waiting = [await house.waits(f"c{n}", "a", renew=lambda: house.spots("a", "b")) for n in range(ROOM)]
    found = await asyncio.wait_for(asyncio.gather(*waiting), 90)
    assert {place.candidate.node for place in found if place} == {house.nodes["b"].node}
    house.end(*places, *found)


async def test_a_full_queue_loses_the_newest_of_the_greedy_one_and_the_rest_are_told_at_once() -> None:
    house = House(queue=4)
    places = house.fill("a")
    greedy = [await house.waits("greedy", "a") for _ in range(4)]
    modest = await house.waits("modest", "a")
    assert (await greedy[3]) is None
    assert house.admission.waiting == 4
    assert (await (await house.waits("greedy", "a"))) is None, "it has the most"
    await house.waits("third", "a")
    assert (await greedy[2]) is None
    house.end(places.pop(), places.pop())
    await until(lambda: len(house.order) == 2)
    assert sorted(house.order) == ["greedy", "modest"], "each its turn"
    for task in (greedy[1], house.tasks[-1]):
        task.cancel()
    house.end(*places, await greedy[0], await modest)
    house.admission.close()


async def test_without_a_queue_nobody_waits() -> None:
    house = House(queue=0)
    places = house.fill("a")
    assert (await (await house.waits("x", "a"))) is None
    resuming = await house.waits("y", "a", rank=Rank.RESUMING)
    assert not resuming.done(), "but those whose clients have seen the beginning"
    house.end(*places)
    house.end(await resuming)


async def test_who_was_told_when_to_come_and_does_goes_before_the_rest() -> None:
    house = House()
    clock = house.admission._clock
    ahead = 0.0
    house.admission._clock = lambda: clock() + ahead  # type: ignore[misc]
    places = house.fill("a")
    now = house.admission._clock()
    ticket = Ticket("sent away", Rank.USUAL, now, house.spots("a"), lambda _: True, lambda: house.spots("a"), now)
    pressing = [await house.waits(f"c{n}", "a") for n in range(5)]
    told = house.admission.busy(ticket, "m")
    assert (told.status, told.code, house.admission.promised) == (429, "busy", 1)
    assert told.retry_after_s
    early = await house.takes(replace(ticket), 30)
    ahead = float(told.retry_after_s)
    back = await house.takes(replace(ticket, caller="sent away"), 30)
    assert house.admission.promised == 0
    house.end(places.pop())
    assert (await back) is not None
    assert not early.done() and not any(task.done() for task in pressing)
    for task in (early, *pressing):
        task.cancel()
    house.end(*places, await back)


async def test_what_is_told_grows_with_who_is_promised_something_already(house: House) -> None:
    places = house.fill("a")
    line = places[0].line
    line.end("others", places[0].began - 6.0 * ROOM, places[0].began, well=True)
    line.begin("others", places[0].began)
    now = house.admission._clock()
    tickets = [
        Ticket(f"c{n % 3}", Rank.USUAL, now, house.spots("a"), lambda _: True, lambda: house.spots("a"), now)
        for n in range(6)
    ]
    told = [house.admission.appoint(ticket) for ticket in tickets]
    assert told[0] == 6
    assert told == sorted(set(told)), "each in its turn, the second requests after all first ones"
    assert house.admission.promised == 6
    house.end(*places)


async def test_a_request_that_may_go_to_two_models_waits_for_both_and_takes_one(house: House) -> None:
    other = candidate("b", "other")
    house.nodes["o"] = other
    places = house.fill("a")
    now = house.admission._clock()
    while (place := house.admission.enter([other], "others", now)) is not None:
        places.append(place)
    spots: Spots = {**house.spots("a"), (other.node, "other"): (other, 0.0)}
    task = await house.takes(Ticket("x", Rank.USUAL, now, spots, lambda _: True, lambda: spots, now), 30)
    assert house.admission.waiting == 2
    house.end(places.pop())
    place = await task
    assert place is not None
    assert place.candidate is other
    assert house.admission.waiting == 0
    house.end(*places, place)


async def test_one_that_has_spent_its_retries_lets_the_next_one_pass(house: House) -> None:
    places = house.fill("a")
    now = house.admission._clock()
    spent = Ticket("x", Rank.USUAL, now, house.spots("a"), lambda _: False, lambda: house.spots("a"), now)
    waiting, passing = await house.takes(spent, 30), await house.waits("y", "a")
    house.end(places.pop())
    assert (await passing) is not None
    assert not waiting.done()
    waiting.cancel()
    house.end(*places, await passing)


async def test_nobody_waits_for_nothing(house: House) -> None:
    now = house.admission._clock()
    nowhere = Ticket("x", Rank.USUAL, now, {}, lambda _: True, dict, now)
    assert (await (await house.takes(nowhere, 30))) is None
    assert nowhere.wakes_at == inf


def test_a_candidate_is_named_by_its_node_and_model() -> None:
    one: Candidate = candidate("a")
    assert repr(Place(one, "x", Admission(Balance())._line("m"), 0.0, False)) == f"<Place at {one.node} of x>"
