"""Who is left alone, with what, and for how long. No loop, no socket, no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.balance import Balance
from gateway.rests import Rests
from relay.errors import ApiError, TooManyRequests, Unavailable
from tests.gateway.searching import candidate


@pytest.mark.parametrize(
    "error", [TooManyRequests("all slots are taken", code="busy"), Unavailable("I drain", code="draining")]
)
def test_the_nodes_own_words_are_kept_for_whoever_comes_too_early(error: ApiError) -> None:
    rests = Rests()
    error.retry_after_s = 7
    rests.busy("a", "m", error, now=100.0)
    rest = rests.of("a", "m", now=103.0)
    assert rest is not None
    assert (rest.busy, rest.until, rest.back_at) == (True, 107.0, 107.0)
    said = rest.error(4)
    assert type(said) is type(error)
    assert (said.message, said.code, said.retry_after_s) == (error.message, error.code, 4)


def test_one_model_rests_and_no_other() -> None:
    rests = Rests()
    rests.busy("a", "m", TooManyRequests("busy"), now=0.0)
    assert rests.of("a", "n", now=0.0) is None
    assert rests.of("b", "m", now=0.0) is None


def test_what_is_over_is_forgotten_when_somebody_looks() -> None:
    rests = Rests()
    rests.busy("a", "m", TooManyRequests("busy", retry_after_s=0), now=0.0)
    assert rests.of("a", "m", now=0.9) is not None, "a second at least"
    assert rests.of("a", "m", now=1.0) is None
    assert rests.nodes == {}


def test_a_node_that_asks_for_an_hour_is_asked_again_sooner_and_told_of_truly() -> None:
    rests = Rests()
    rests.busy("a", "m", TooManyRequests("busy", retry_after_s=3600), now=0.0)
    rest = rests.of("a", "m", now=299.0)
    assert rest is not None
    assert rest.back_at == 3600.0
    assert rests.of("a", "m", now=300.0) is None


def test_the_newest_word_counts() -> None:
    rests = Rests()
    rests.busy("a", "m", TooManyRequests("busy", retry_after_s=60), now=0.0)
    rests.busy("a", "m", TooManyRequests("busy", retry_after_s=2), now=1.0)
    assert rests.of("a", "m", now=3.0) is None


def test_who_refuses_the_gateway_is_put_aside_and_did_not_say_when_to_come_back() -> None:
    rests = Rests()
    rests.refused("a", "m", now=0.0)
    rest = rests.of("a", "m", now=59.0)
    assert rest is not None
    assert not rest.busy
    assert rests.of("a", "m", now=60.0) is None


def test_long_words_are_cut() -> None:
    rests = Rests()
    rests.busy("a", "m", TooManyRequests("x" * 10_000_000, code="y" * 10_000_000), now=0.0)
    rest = rests.of("a", "m", now=0.0)
    assert rest is not None
    assert (len(rest.message), len(rest.code or "")) == (300, 300)


def test_who_is_gone_is_forgotten_and_what_is_kept_is_bounded() -> None:
    rests = Rests(most_nodes=3)
    for number in range(10):
        rests.refused(f"n{number}", "m", now=0.0)
    rests.forget("n9")
    rests.forget("nobody")
    assert list(rests.nodes) == ["n7", "n8"]
    assert repr(rests) == "<Rests nodes=2>"


@pytest.mark.parametrize("said", ["busy", "refused"])
def test_what_a_node_said_in_an_earlier_life_does_not_hold_in_the_next_one(said: str) -> None:
    balance, before = Balance(), candidate("a")
    advert = before.believed.advert
    newer = replace(before.believed, advert=advert.model_copy(update={"seq": advert.seq + 1}))
    after = replace(before, believed=newer)
    if said == "busy":
        balance.busy(before, TooManyRequests("", retry_after_s=300), now=0.0)
    else:
        balance.refused(before, now=0.0)
    assert balance.order([before], now=1.0) == []
    assert balance.order([after], now=1.0) == [after], "it has signed another advert since"
    assert balance.opens_at(after, now=1.0) == 0.0
