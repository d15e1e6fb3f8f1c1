"""Whose turn it is, and who has to leave a queue that is full. No loop, no clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from gateway.admission.line import Line, Rank


@dataclass(eq=False)
class One:
    """A request that waits."""

    caller: str
    since: float = 0.0
    rank: Rank = Rank.USUAL
    node: str = "a"


def line_of(*waiters: One) -> Line[One]:
    line: Line[One] = Line()
    for waiter in waiters:
        line.join(waiter)
    return line


def turn(line: Line[One], now: float, node: str = "a") -> One | None:
    """The next one is served, and is in flight from now on."""
    found = line.next(lambda each: each.node == node)
    if found is not None:
        line.leave(found, now)
        line.begin(found.caller, now)
    return found


def test_a_hundred_requests_of_one_caller_buy_it_no_more_turns_than_one() -> None:
    """Slots are handed over one at a time, so that everybody has nothing in flight when it is their turn."""
    line = line_of(*(One("greedy", 0.0) for _ in range(100)), *(One(f"c{n}", 1.0 + n / 100) for n in range(39)))
    served: Counter[str] = Counter()
    for step in range(400):
        now = 10.0 + step
        found = turn(line, now)
        assert found is not None
        served[found.caller] += 1
        line.end(found.caller, now, now + 1, well=True)
        line.join(One(found.caller, now + 1))
    assert len(served) == 40
    assert set(served.values()) <= {9, 10, 11}


def test_who_has_the_least_in_flight_comes_first() -> None:
    line = line_of(One("a", 1.0), One("b", 2.0), One("c", 3.0))
    for caller in ("a", "a", "b"):
        line.begin(caller, 0.0)
    assert [one.caller for one in (turn(line, 5.0), turn(line, 6.0), turn(line, 7.0)) if one] == ["c", "b", "a"]
    assert turn(line, 8.0) is None
    assert line.waiting == 0


def test_a_caller_is_served_in_the_order_in_which_its_requests_came() -> None:
    waiters = [One("a", float(n)) for n in range(5)]
    line = line_of(*waiters)
    assert [turn(line, 10.0 + n) for n in range(5)] == waiters


def test_streams_that_go_on_come_before_promises_and_those_before_all_others() -> None:
    line = line_of(
        One("usual", 0.0), One("promised", 1.0, Rank.PROMISED), One("busy", 2.0, Rank.RESUMING), One("other", 0.5)
    )
    for _ in range(9):
        line.begin("busy", 0.0)
    order = [one.caller for one in (turn(line, 5.0 + n) for n in range(4)) if one]
    assert order == ["busy", "promised", "usual", "other"]


def test_a_promise_buys_no_more_than_a_share() -> None:
    line = line_of(*(One("greedy", 0.0, Rank.PROMISED) for _ in range(8)), One("a", 1.0), One("b", 2.0))
    assert [one.caller for one in (turn(line, 5.0 + n) for n in range(4)) if one] == ["greedy", "a", "b", "greedy"]


def test_who_cannot_use_the_node_is_passed_over_and_keeps_its_turn() -> None:
    line = line_of(One("a", 0.0, node="x"), One("a", 1.0), One("b", 2.0))
    first = turn(line, 5.0)
    assert first is not None
    assert (first.caller, first.since) == ("a", 1.0)
    assert turn(line, 5.0) is not None
    assert turn(line, 5.0) is None
    assert line.waiting == 1
    assert turn(line, 5.0, "x") is not None


def test_who_leaves_frees_its_place_and_takes_no_turn_along() -> None:
    old, new, other = One("a", 0.0), One("a", 8.0), One("b", 5.0)
    line = line_of(old, new, other)
    line.leave(old)
    line.leave(old)
    assert line.waiting == 2
    assert turn(line, 9.0) is other, "the other one has waited longer by now"
    assert turn(line, 9.0) is new


@pytest.mark.parametrize(
    ("waiting", "comes", "leaves"),
    [
        ("aaab", "b", "a"),
        ("aaab", "c", "a"),
        ("aaab", "a", None),
        ("ab", "c", None),
        ("aab", "c", "a"),
        ("", "a", None),
        ("aabb", "b", None),
    ],
)
def test_a_full_queue_loses_the_newest_of_who_has_the_most(waiting: str, comes: str, leaves: str | None) -> None:
    waiters = [One(caller, float(n)) for n, caller in enumerate(waiting)]
    evicted = line_of(*waiters).to_evict(comes)
    assert (evicted.caller if evicted else None) == leaves
    if evicted is not None:
        assert evicted is max((one for one in waiters if one.caller == leaves), key=lambda one: one.since)


def test_nobody_with_a_promise_has_to_leave() -> None:
    assert line_of(*(One("a", rank=Rank.PROMISED) for _ in range(5))).to_evict("b") is None


def test_how_many_turns_are_before_a_request() -> None:
    line = line_of(*(One("greedy") for _ in range(50)), One("b"), One("c"))
    assert line.ahead_of("new", 0) == 3, "one of each"
    assert line.ahead_of("greedy", 0) == 50 + 51 * 2, "the others have come again and again by then"
    line.begin("b", 0.0)
    assert line.ahead_of("b", 1) == 2 + 4 * 2


def test_nothing_is_left_of_what_has_ended() -> None:
    line = line_of()
    for _ in range(3):
        line.begin("a", 1.0)
    for _ in range(3):
        line.end("a", 1.0, 3.0, well=True)
    assert line.idle
    assert repr(line) == "<Line in_flight=0 waiting=0>"
    with pytest.raises(KeyError):
        line.end("a", 1.0, 3.0, well=True)
