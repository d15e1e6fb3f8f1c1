"""So many requests a minute: exactly, whoever looks. No clock."""

from __future__ import annotations

import pytest

from gateway.admission.rates import OwnMoments, give_back, take


def test_as_many_as_that_pass_at_once_and_then_one_each_time_its_share_has_passed() -> None:
    moments, now = OwnMoments(), 1000.0
    assert [take(moments, "a", 6, now).left for _ in range(6)] == [5, 4, 3, 2, 1, 0]
    refused = take(moments, "a", 6, now)
    assert refused.retry_s == pytest.approx(10.0)
    assert (refused.left, refused.limit) == (0, 6)
    assert refused.reset_s == pytest.approx(60.0)
    assert take(moments, "a", 6, now + 9.99).retry_s == pytest.approx(0.01)
    assert take(moments, "a", 6, now + 10.0).retry_s == 0
    assert take(moments, "a", 6, now + 10.0).retry_s == pytest.approx(10.0)


@pytest.mark.parametrize("per_minute", [1, 7, 60, 1000, 1_000_000])
def test_who_waits_as_long_as_it_was_told_passes_and_not_sooner(per_minute: int) -> None:
    moments, now = OwnMoments(), 3.0
    while not (told := take(moments, "a", per_minute, now).retry_s):
        now += 1e-6
    assert take(moments, "a", per_minute, now + told * 0.9).retry_s
    for _ in range(5):
        now += told
        assert take(moments, "a", per_minute, now).retry_s == 0
        told = take(moments, "a", per_minute, now).retry_s
        assert told


def test_a_refusal_is_not_counted_and_what_is_given_back_is_not_either() -> None:
    moments = OwnMoments()
    take(moments, "a", 1, 0.0)
    for second in range(1, 60):
        assert take(moments, "a", 1, float(second)).retry_s == pytest.approx(60.0 - second)
    assert take(moments, "a", 1, 60.0).retry_s == 0
    give_back(moments, "a", 1, 60.0)
    assert take(moments, "a", 1, 60.0).retry_s == 0


def test_one_caller_is_not_another() -> None:
    moments = OwnMoments()
    assert take(moments, "a", 1, 0.0).retry_s == take(moments, "b", 1, 0.0).retry_s == 0


def test_millions_of_addresses_take_no_more_room_than_some() -> None:
    moments = OwnMoments(most=1000)
    for second in range(20_000):
        take(moments, f"2001:db8::{second:x}/64", 60, second / 100)
        assert len(moments) <= 1001
    take(moments, "pressing", 1, 200.0)
    for other in range(5000):
        take(moments, f"other {other}", 60, 200.0)
    assert take(moments, "pressing", 1, 200.0).retry_s, "whoever is over its limit is forgotten last"


def test_the_headers_are_openais() -> None:
    moments = OwnMoments()
    assert take(moments, "a", 60, 0.0).headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1000ms",
    }
