"""When a slot is free, and who was promised one. No loop, no clock."""

from __future__ import annotations

import pytest

from gateway.admission.holds import Holds
from gateway.admission.promises import Promises


def test_the_next_slot_is_free_after_what_an_answer_takes_divided_by_the_slots() -> None:
    holds = Holds()
    for start in range(8):
        holds.begin(float(start))
    for start in range(8):
        holds.end(float(start), start + 4.0, well=True)
    assert holds.held_s(100.0) == pytest.approx(4.0)
    assert holds.interval_s(8, 100.0) == pytest.approx(0.5)
    assert holds.interval_s(0, 100.0) == pytest.approx(4.0)


def test_while_nothing_has_ended_those_that_run_say_how_long_it_takes() -> None:
    holds = Holds()
    holds.begin(0.0)
    holds.begin(2.0)
    assert holds.held_s(10.0) == pytest.approx(18.0), "twice as long as they have run, on average"


def test_answers_that_take_longer_than_usual_are_believed() -> None:
    holds = Holds()
    holds.begin(0.0)
    holds.end(0.0, 1.0, well=True)
    holds.begin(10.0)
    assert holds.held_s(10.5) == pytest.approx(1.0)
    assert holds.held_s(70.0) == pytest.approx(60.0)


def test_a_failure_says_nothing_of_how_long_an_answer_takes() -> None:
    holds = Holds()
    holds.begin(0.0)
    holds.end(0.0, 5.0, well=True)
    for _ in range(100):
        holds.begin(10.0)
        holds.end(10.0, 10.001, well=False)
    assert holds.held_s(11.0) == pytest.approx(5.0)
    assert holds.running == 0


def test_a_promise_is_kept_once_from_when_it_is_due_and_for_a_while() -> None:
    promises = Promises()
    assert promises.make("m", "a", 5.0, 100.0)
    assert not promises.take("m", "a", 104.0)
    assert not promises.take("m", "b", 105.0)
    assert not promises.take("other", "a", 105.0)
    assert promises.take("m", "a", 105.0)
    assert not promises.take("m", "a", 105.0)
    assert promises.count(105.0) == 0
    promises.make("m", "a", 5.0, 200.0)
    assert not promises.take("m", "a", 218.0)
    assert promises.count(218.0) == 0
    assert not promises.made


def test_promises_are_bounded_for_each_caller_and_in_all() -> None:
    promises = Promises(most=10, most_of_caller=3)
    assert [promises.make("m", "greedy", 5.0, 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    made = [promises.make("m", f"c{n}", 5.0, 0.0) for n in range(20)]
    assert sum(made) == 7
    assert promises.count(0.0) == 10
    assert promises.make("m", "late", 5.0, 60.0), "those that are over make room"


def test_one_more_is_served_behind_all_that_are_due_before_it() -> None:
    promises = Promises()
    for caller, after_s in (("a", 2.0), ("b", 4.0), ("c", 8.0)):
        promises.make("m", caller, after_s, 0.0)
    assert [promises.behind("m", at, 1.0, 0.0) for at in (1.0, 2.0, 3.0, 9.0)] == [1.0, 3.0, 5.0, 12.0]
    assert promises.behind("other", 9.0, 1.0, 0.0) == 9.0
