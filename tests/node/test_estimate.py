"""When a slot may be free: what is measured, and what follows from who runs and who waits."""

from __future__ import annotations

import pytest

from node.estimate import Estimate, free_in_s, retry_after_s


def test_before_anything_is_measured_five_seconds_are_taken() -> None:
    assert Estimate().mean_s == 5.0


def test_the_first_measure_counts_alone_and_later_ones_move_it() -> None:
    estimate = Estimate()
    estimate.note(1.0, 1, whole=True)
    assert (estimate.mean_s, estimate.spread_s) == (1.0, 0.5)
    for _ in range(50):
        estimate.note(3.0, 1, whole=True)
    assert estimate.mean_s == pytest.approx(3.0, abs=0.01)
    assert estimate.spread_s < 0.1


def test_what_broke_off_early_says_nothing_and_what_was_long_does() -> None:
    estimate = Estimate()
    estimate.note(4.0, 1, whole=True)
    for _ in range(20):
        estimate.note(0.01, 1, whole=False)
    assert estimate.mean_s == 4.0
    estimate.note(9.0, 1, whole=False)
    assert estimate.mean_s == 5.0


def test_ten_pictures_say_how_long_one_takes() -> None:
    estimate = Estimate()
    estimate.note(20.0, 10, whole=True)
    assert estimate.mean_s == 2.0
    assert estimate.left_s(0.0, 10) == 20.0


def test_who_is_late_will_be_later() -> None:
    estimate = Estimate()
    assert estimate.left_s(1.0, 1) == 4.0
    assert estimate.left_s(600.0, 1) == 300.0
    assert estimate.left_s(4.9, 1) > 0


@pytest.mark.parametrize(
    ("slots", "left", "ahead", "need", "wait_s"),
    [
        (2, [], [], 1, 0.0),
        (2, [(1, 3.0)], [], 1, 0.0),
        (2, [(1, 3.0)], [], 2, 3.0),
        (2, [(1, 3.0), (1, 4.0)], [], 1, 3.0),
        (2, [(1, 3.0), (1, 4.0)], [(1, 5.0)], 1, 4.0),
        (2, [(1, 3.0), (1, 4.0)], [(1, 5.0), (1, 5.0)], 1, 8.0),
        (4, [(4, 2.0)], [(1, 5.0)] * 4, 1, 7.0),
        (4, [(4, 2.0)], [(4, 5.0)], 1, 7.0),
        (1, [(1, 2.0)], [(9, 5.0)], 9, 7.0),  # more than there are
    ],
)
def test_slots_are_free_when_those_before_have_ended(
    slots: int, left: list[tuple[int, float]], ahead: list[tuple[int, float]], need: int, wait_s: float
) -> None:
    assert free_in_s(slots, left, ahead, need) == wait_s


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.1, 2), (7.0, 7), (1e9, 600)])
def test_a_header_says_whole_seconds_and_never_none(seconds: float, told: int) -> None:
    assert retry_after_s(seconds, 600) == told
