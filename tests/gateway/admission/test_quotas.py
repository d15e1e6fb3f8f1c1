"""What one caller may have: at once and a minute; whatever becomes of a request, nothing is counted twice or left."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from gateway.admission.callers import address_of
from gateway.admission.quotas import Quotas
from gateway.keys import ANYBODY, Caller
from relay.errors import BadRequest, TooManyRequests


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(quotas: Quotas, caller: Caller) -> TooManyRequests:
    with pytest.raises(TooManyRequests) as told:
        quotas.enter(caller, caller.name)
    return told.value


def test_so_many_at_once_and_no_more() -> None:
    quotas, alice = Quotas(), Caller("alice", max_parallel=2)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(quotas.enter(alice, "alice"))
        told = refused(quotas, alice)
        assert (told.code, told.status) == ("too_many_parallel", 429)
        assert "2 requests at once" in told.message
        assert told.retry_after_s
        with quotas.enter(Caller("bob", max_parallel=1), "bob"):
            assert quotas.in_flight == 3
    assert quotas.in_flight == 0
    with quotas.enter(alice, "alice"):
        pass


def test_what_was_refused_for_the_one_limit_is_not_counted_for_the_other() -> None:
    clock = Clock()
    quotas, both = Quotas(clock=clock), Caller("both", max_parallel=1, requests_per_minute=2)
    with quotas.enter(both, "both"):
        for _ in range(5):
            assert refused(quotas, both).code == "too_many_parallel"
    with quotas.enter(both, "both") as held:
        assert held.headers["x-ratelimit-remaining-requests"] == "0"
    for _ in range(5):
        told = refused(quotas, both)
        assert (told.code, told.retry_after_s) == ("rate_limit_exceeded", 30)
        assert told.headers()["retry-after-ms"] == "30000"
        assert told.headers()["x-ratelimit-limit-requests"] == "2"
    assert quotas.in_flight == 0
    clock.now += 30
    with quotas.enter(both, "both"):
        pass


@pytest.mark.parametrize("error", [BadRequest("wrong"), TooManyRequests("busy", code="busy"), RuntimeError()])
def test_whatever_becomes_of_a_request_it_is_not_left_behind(error: Exception) -> None:
    quotas, caller = Quotas(), Caller("a", max_parallel=1, requests_per_minute=1)
    with pytest.raises(type(error)), quotas.enter(caller, "a"):
        raise error
    assert quotas.in_flight == 0
    if getattr(error, "code", None) == "busy":
        with quotas.enter(caller, "a"):
            pass  # it was told to come back, and did
    else:
        assert refused(quotas, caller).code == "rate_limit_exceeded"


def test_the_gateways_limits_are_of_those_that_have_none_of_their_own() -> None:
    quotas = Quotas(parallel=1, per_minute=1)
    with quotas.enter(ANYBODY, "192.0.2.1"), quotas.enter(ANYBODY, "192.0.2.2"):
        with pytest.raises(TooManyRequests) as told:
            quotas.enter(ANYBODY, "192.0.2.1")
        assert "One address may have 1 requests at once" in told.value.message
        free = Caller("free", max_parallel=0, requests_per_minute=0)
        with quotas.enter(free, "free"), quotas.enter(free, "free") as held:
            assert (held.headers, held.lines) == ({}, "")


def test_what_limits_nobody_counts_nobody() -> None:
    quotas = Quotas()
    with quotas.enter(ANYBODY, "192.0.2.1"):
        assert quotas.in_flight == 0


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "here"),
    ],
)
def test_a_client_without_a_key_is_known_by_its_network(peer: str, caller: str) -> None:
    assert address_of(peer) == caller
