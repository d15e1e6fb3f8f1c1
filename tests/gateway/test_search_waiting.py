"""For whom a request waits, and for how long. No loop, no socket, no clock."""

from __future__ import annotations

import pytest

from gateway.balance import Balance
from gateway.groups import Candidate
from gateway.search import Pause, Search
from relay.errors import (
    ApiError,
    BadUpstream,
    Unavailable,
    UpstreamTimeout,
)
from tests.gateway.searching import CHAT, A, B, C, Run, busy, candidate


def test_a_node_that_says_when_to_come_back_is_waited_for_and_asked_again() -> None:
    said = [busy(2)]
    run = Run.of([candidate("a")])
    asked, told = run.goes(lambda _: said.pop() if said else None)
    assert (asked, told) == ([A, A], None)
    assert 2.0 < run.now < 2.1


def test_somebody_else_is_asked_before_anybody_waits() -> None:
    run = Run.of([candidate("a"), candidate("b")], [candidate("c", "other")])
    asked, told = run.goes(lambda one: None if one.node == C else busy(1))
    assert (len(asked), asked[-1], told, run.now) == (3, C, None, 0.0)


def test_only_who_said_so_is_asked_again_and_the_soonest_first() -> None:
    errors: dict[str, ApiError] = {A: busy(5), B: UpstreamTimeout("silent"), C: busy(1)}
    run = Run.of([candidate(name) for name in "abc"])
    asked, told = run.goes(lambda one: errors.pop(one.node, None))
    assert (sorted(asked[:3]), asked[3:], told) == (sorted([A, B, C]), [C], None)
    assert 1.0 < run.now < 1.1


def test_nobody_waits_more_than_twice() -> None:
    run = Run.of([candidate("a")], queue_s=100.0)
    asked, told = run.goes(lambda _: busy(1))
    assert asked == [A, A, A]
    assert told is not None
    assert (told.status, told.code, told.retry_after_s) == (429, "busy", 1)
    assert not run.search.gave_up


@pytest.mark.parametrize(("queue_s", "gave_up"), [(0.0, False), (1.0, True), (2.9, True)])
def test_nobody_waits_for_longer_than_the_queue_is(queue_s: float, gave_up: bool) -> None:
    run = Run.of([candidate("a")], queue_s=queue_s)
    asked, told = run.goes(lambda _: busy(3))
    assert (asked, run.now, run.search.gave_up) == ([A], 0.0, gave_up)
    assert told is not None
    assert (told.status, told.retry_after_s) == (429, 3)


def test_what_is_told_is_true_when_it_is_told() -> None:
    """One said `in 30 s`, and the next was silent for 20 s of them."""
    errors: dict[str, ApiError] = {A: busy(30), B: UpstreamTimeout("silent")}
    run = Run.of([candidate("a"), candidate("b")])
    asked: list[str] = []

    def failing(one: Candidate) -> ApiError:
        asked.append(one.node)
        if one.node == B:
            run.now += 20.0
        return errors[one.node]

    _, told = run.goes(failing)
    assert told is not None
    assert (told.status, told.retry_after_s) == (429, 10 if asked[0] == A else 30)


def test_what_others_were_told_is_waited_for_too_and_else_told_in_the_nodes_words() -> None:
    balance = Balance(spread=lambda: 0.0)
    balance.busy(candidate("a"), Unavailable("I drain", code="draining", retry_after_s=4), 0.0)
    asked, told = Run.of([candidate("a")], balance=balance, queue_s=3.0).goes(lambda _: None)
    run = Run.of([candidate("a")], balance=balance)
    assert run.goes(lambda _: None) == ([A], None)
    assert 4.0 < run.now < 4.1
    assert asked == []
    assert told is not None
    assert (told.status, told.message, told.code, told.retry_after_s) == (503, "I drain", "draining", 4)


def test_a_broken_node_beside_a_busy_one_is_not_what_is_told() -> None:
    errors: dict[str, ApiError] = {A: busy(20), B: BadUpstream("broken")}
    for order in ("ab", "ba"):
        _, told = Run.of([candidate(order[0])], [candidate(order[1])]).goes(lambda one: errors[one.node])
        assert told is not None
        assert (told.status, told.retry_after_s) == (429, 20)


def test_a_crowd_that_waits_together_is_spread_by_chance() -> None:
    waits = []
    for chance in (0.0, 0.5, 1.0):
        search = Search(Balance(), CHAT, ([candidate("a")],), 0.0, 10.0, spread=lambda chance=chance: chance)
        tried = search.next(0.0)
        assert isinstance(tried, Candidate)
        search.failed(tried, busy(2), 0.0)
        pause = search.next(0.0)
        assert isinstance(pause, Pause)
        waits.append(pause.until)
    assert waits == [pytest.approx(2.02), pytest.approx(2.27), pytest.approx(2.52)]


def test_who_refuses_the_gateway_is_not_waited_for() -> None:
    balance = Balance(spread=lambda: 0.0)
    balance.refused(candidate("a"), 0.0)
    run = Run.of([candidate("a")], balance=balance, queue_s=600.0)
    asked, told = run.goes(lambda _: None)
    assert (asked, run.now) == ([], 0.0)
    assert told is not None
    assert (told.code, told.retry_after_s) == ("model_unavailable", 60)


def test_a_node_that_rests_and_is_ill_is_waited_for_until_both_are_over() -> None:
    balance, one = Balance(spread=lambda: 0.0), candidate("a")
    balance.busy(one, busy(2), 0.0)
    for _ in range(3):
        balance.failed(one, 1.5)
    run = Run.of([one], balance=balance)
    assert run.goes(lambda _: None) == ([A], None)
    assert 2.5 < run.now < 2.6


def test_a_stream_that_goes_on_waits_for_the_ill_where_there_is_nobody_else() -> None:
    balance, one = Balance(spread=lambda: 0.0), candidate("a")
    balance.unreachable(one, 0.0)
    asked, told = Run.of([one], balance=balance).goes(lambda _: None)
    assert asked == []
    assert told is not None
    run = Run.of([one], balance=balance, resuming=True)
    assert run.goes(lambda _: None) == ([A], None)
    assert 1.0 < run.now < 1.1


def test_what_is_told_of_a_stream_that_cannot_go_on_is_that_the_model_is_away() -> None:
    balance, one = Balance(spread=lambda: 0.0), candidate("a")
    balance.unreachable(one, 0.0)
    asked, told = Run.of([one], balance=balance, queue_s=0.5, resuming=True).goes(lambda _: None)
    assert asked == []
    assert told is not None
    assert (told.code, told.retry_after_s) == ("model_unavailable", 1)
