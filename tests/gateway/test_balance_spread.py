"""Where requests go that come together, and where conversations return to. Many seeds, no loop, no clock."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.affinity import Topic
from gateway.balance import Balance
from gateway.groups import Candidate
from gateway.loads import room
from tests.gateway.adverts import believed, carrying, offer

slots = st.lists(st.integers(1, 8), min_size=1, max_size=6)


def crowd(slots: list[int]) -> list[Candidate]:
    offers = [offer("m", parallel=count) for count in slots]
    return [Candidate(believed("op", f"n{number}", one), one) for number, one in enumerate(offers)]


def topic(number: int, before: int | None = None) -> Topic:
    """The turn `number` of a conversation that begins like every tenth other."""
    return Topic(number, before, number % 10)


def send(balance: Balance, among: list[Candidate], topic: Topic | None = None, now: float = 0.0) -> Candidate:
    chosen = balance.order(among, now, topic=topic)[0]
    balance.begin(chosen.node, "m", topic)
    return chosen


def finish(balance: Balance, one: Candidate, now: float = 0.0) -> None:
    balance.end(one.node, "m")
    balance.answered(one, now)


@settings(deadline=None)
@given(slots=slots, requests=st.integers(0, 60), alike=st.booleans())
def test_no_node_is_full_while_another_has_a_free_slot(slots: list[int], requests: int, alike: bool) -> None:
    balance, among = Balance(), crowd(slots)
    for number in range(requests):
        send(balance, among, topic(1 if alike else number))
        running = [balance.in_flight_of(one.node, "m") for one in among]
        if any(count < one.offer.parallel for count, one in zip(running, among, strict=True)):
            assert all(count <= one.offer.parallel for count, one in zip(running, among, strict=True))


@settings(deadline=None)
@given(slots=slots, requests=st.integers(1, 80))
def test_a_home_that_is_full_takes_a_quarter_and_one_more_beyond_its_share(slots: list[int], requests: int) -> None:
    """The worst case: all are one conversation."""
    balance, among = Balance(), crowd(slots)
    for _ in range(requests):
        send(balance, among, topic(1))
    total = sum(slots)
    for one in among:
        running = balance.in_flight_of(one.node, "m")
        assert running <= max(one.offer.parallel, 1.25 * requests * one.offer.parallel / total + 1) + 1


@settings(deadline=None)
@given(slots=slots, requests=st.integers(0, 60))
def test_without_conversations_each_node_has_what_its_slots_are_worth(slots: list[int], requests: int) -> None:
    balance, among = Balance(), crowd(slots)
    for _ in range(requests):
        send(balance, among)
    loads = [balance.in_flight_of(one.node, "m") / one.offer.parallel for one in among]
    assert max(loads) - min(loads) <= 1


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_conversation_stays_while_its_node_has_a_free_slot(seed: int) -> None:
    chance, balance, among = random.Random(seed), Balance(), crowd([4, 4, 4])
    homes: dict[int, str] = {}
    turns: Counter[int] = Counter()
    for _ in range(200):
        chat = chance.randrange(12)
        number = turns[chat]
        turns[chat] += 1
        now = Topic(chat * 1000 + number, chat * 1000 + number - 1 if number else None, chat)
        with ExitStack() as beside:
            for one in among:
                for _ in range(chance.randrange(4)):
                    beside.enter_context(carrying(balance, one.node, "m"))
            chosen = send(balance, among, now)
            assert homes.setdefault(chat, chosen.node) == chosen.node
            finish(balance, chosen)
    assert balance.in_flight == 0


def test_a_node_that_fails_loses_the_conversation_to_the_one_that_answers() -> None:
    balance, among = Balance(spread=lambda: 0.0), crowd([2, 2])
    home = send(balance, among, topic(1))
    finish(balance, home)
    assert balance.order(among, 0.0, topic=topic(2, 1))[0] == home
    balance.unreachable(home, 0.0)
    other = send(balance, among, topic(2, 1), now=0.1)
    assert other != home
    finish(balance, other, 0.1)
    balance.reached(home)
    assert balance.order(among, 100.0, topic=topic(3, 2))[0] == other, "it is there that the prompt is known"
    assert len(balance.order(among, 100.0, topic=topic(3, 2))) == 2


def test_a_node_that_is_gone_is_no_home() -> None:
    balance, among = Balance(), crowd([2, 2, 2])
    home = send(balance, among, topic(1))
    finish(balance, home)
    balance.forget(home.node)
    left = [one for one in among if one != home]
    assert balance.order(left, 0.0, topic=topic(2, 1))[0] in left


@pytest.mark.parametrize("talking", [True, False])
def test_a_node_that_is_back_gets_its_share_and_no_herd(talking: bool) -> None:
    balance, among = Balance(), crowd([8, 8, 8])
    at_work = [send(balance, among[:2], topic(number) if talking else None) for number in range(12)]
    found = Counter(send(balance, among, topic(100 + number) if talking else None).node for number in range(9))
    assert found[among[2].node] <= 8, "no more than would make it as busy as the others, and its slots"
    assert max(balance.in_flight_of(one.node, "m") for one in among) <= 8
    assert len(at_work) == 12


def test_conversations_stay_where_they_are_when_a_node_comes_back() -> None:
    balance, among = Balance(), crowd([8, 8, 8])
    homes = {}
    for number in range(10):
        homes[number] = send(balance, among[:2], topic(number))
        finish(balance, homes[number])
    for number, home in homes.items():
        back = send(balance, among, topic(50 + number, number))
        assert back == home
        finish(balance, back)


def test_a_node_that_fails_at_once_does_not_draw_requests() -> None:
    """It never has anything in flight, so that by that alone it would be asked each time."""
    balance, among, asked = Balance(spread=lambda: 0.0), crowd([4, 4, 4]), Counter[str]()
    running: list[Candidate] = []
    for number in range(300):
        now = number * 0.01
        chosen = send(balance, among, topic(number), now)
        asked[chosen.node] += 1
        if chosen == among[0]:
            balance.end(chosen.node, "m")
            balance.failed(chosen, now)
            continue
        running.append(chosen)
        if len(running) > 6:
            finish(balance, running.pop(0), now)
    assert asked[among[0].node] <= 6, "three failures open its circuit; then one tries, 1 s and 2 s later"


def test_nobody_is_left_out() -> None:
    balance, among = Balance(), crowd([1, 2, 8, 2])
    found = Counter(finish_at_once(balance, among, topic(number * 7)) for number in range(400))
    assert min(found.values()) > 40
    turns = Counter(finish_at_once(balance, among, None) for _ in range(400))
    assert min(turns.values()) >= 1


def finish_at_once(balance: Balance, among: list[Candidate], of: Topic | None) -> str:
    one = send(balance, among, of)
    finish(balance, one)
    return one.node


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 2**64), max_size=30), slots=slots)
def test_two_workers_that_know_nothing_choose_alike(numbers: list[int], slots: list[int]) -> None:
    among = crowd(slots)
    for number in numbers:
        orders = [Balance().order(one, 0.0, topic=Topic(0, None, number)) for one in (among, among[::-1])]
        assert orders[0] == orders[1]


def test_what_a_node_says_of_others_requests_counts_for_a_second_or_until_one_of_ours_ends() -> None:
    balance, among = Balance(), crowd([4, 4])
    one, other = among
    with carrying(balance, one.node, "m"):
        balance.loaded(one, running=4, slots=4, waiting=3, now=10.0)
        assert not balance.has_room(one, 10.5)
        assert balance.order(among, 10.5)[0] == other
        assert balance.has_room(one, 11.5)
        balance.loaded(one, running=4, slots=4, waiting=3, now=20.0)
    assert balance.has_room(one, 20.1)
    balance.loaded(one, running=4, slots=4, waiting=3, now=30.0)
    assert balance.has_room(one, 30.1), "nothing of ours runs there: there would be no end"
    with carrying(balance, one.node, "m"):
        balance.loaded(one, running=2, slots=4, waiting=0, now=40.0)
        assert balance.has_room(one, 40.1)


@pytest.mark.parametrize(("parallel", "most"), [(1, 2), (2, 3), (4, 5), (8, 10), (32, 40)])
def test_a_node_is_sent_a_few_more_than_it_has_slots(parallel: int, most: int) -> None:
    balance, one = Balance(), crowd([parallel])[0]
    with ExitStack() as running:
        for _ in range(most):
            assert balance.has_room(one, 0.0)
            running.enter_context(carrying(balance, one.node, "m"))
        assert not balance.has_room(one, 0.0)
        assert balance.in_flight_of(one.node, "m") == most == room(parallel)
    assert balance.in_flight_of(one.node, "m") == 0
