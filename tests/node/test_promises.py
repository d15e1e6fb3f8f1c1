"""Who was told to come back: let in once, in time, and not more often than was said."""

from __future__ import annotations

from node.promises import Promises

A, B = ("a",), ("b",)


def test_a_promise_is_redeemed_once_and_not_before_its_time() -> None:
    promises = Promises()
    assert promises.make(A, due=10.0, each=2, most=8, now=0.0)
    assert promises.redeem(A, 9.0) is None
    assert promises.redeem(B, 10.0) is None
    assert promises.redeem(A, 10.0) == 10.0
    assert promises.redeem(A, 10.0) is None
    assert promises.standing(10.0) == 0


def test_a_clock_that_is_a_little_ahead_is_let_pass() -> None:
    promises = Promises()
    promises.make(A, due=10.0, each=2, most=8, now=0.0)
    assert promises.redeem(A, 9.95) == 10.0


def test_no_caller_collects_them_and_all_together_have_a_bound() -> None:
    promises = Promises()
    assert [promises.make(A, 10.0, each=2, most=3, now=0.0) for _ in range(4)] == [True, True, False, False]
    assert [promises.make(B, 10.0, each=2, most=3, now=0.0) for _ in range(2)] == [True, False]
    assert promises.standing(0.0) == 3
    assert not promises.make(B, 10.0, each=2, most=0, now=0.0)  # where nobody may wait, nothing is promised


def test_who_comes_too_late_has_none_any_more() -> None:
    promises = Promises()
    promises.make(A, due=10.0, each=2, most=8, now=0.0)
    promises.make(A, due=20.0, each=2, most=8, now=0.0)
    assert promises.redeem(A, 41.0) == 20.0
    assert promises.standing(41.0) == 0
    assert repr(promises) == "<Promises 0 to 0>"


def test_a_later_promise_may_be_for_an_earlier_time() -> None:
    promises = Promises()
    promises.make(A, due=20.0, each=2, most=8, now=0.0)
    promises.make(A, due=10.0, each=2, most=8, now=1.0)
    assert promises.redeem(A, 12.0) == 10.0
    assert promises.redeem(A, 12.0) is None
