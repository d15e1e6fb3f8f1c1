"""Hosts of one board, compared: who withholds or lags is seen, and nothing else is. No loop, no socket, no clock."""

from __future__ import annotations

from typing import Any

from gateway.hosts import GRACE_S, Hosts, Reading, Turn
from registry.advert import Reason
from registry.trust import Verdict

LATER = 10_000
READ = Reading(began=0, ended=0, settled=True)


def verdict(node: str | None = "n", seq: int = 1, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "kind": "advert", "operator": "0xa", "node": node, "seq": seq, "accepted": True, "reason": None, "detail": "",
        "expires_at": LATER,
    }  # fmt: skip
    return Verdict(**{**fields, **changes})


def missing(hosts: Hosts, now: float) -> list[int]:
    return [hosts.missing(host, now) for host in (0, 1)]


def test_what_one_shows_and_the_other_does_not_is_missing_after_a_grace() -> None:
    hosts = Hosts(["board", "board"])
    hosts.show(0, verdict(), 0)
    assert missing(hosts, GRACE_S - 1) == [0, 0]
    assert missing(hosts, GRACE_S) == [0, 1]
    hosts.show(1, verdict(), GRACE_S + 1)
    assert missing(hosts, GRACE_S + 1) == [0, 0]


def test_an_older_one_is_not_enough_and_an_even_newer_one_turns_it_round() -> None:
    hosts = Hosts(["board", "board"])
    hosts.show(0, verdict(seq=5), 0)
    hosts.show(1, verdict(seq=4, accepted=False, reason=Reason.STALE), 1)
    assert missing(hosts, 50) == [0, 1]
    hosts.show(1, verdict(seq=6), 51)
    assert missing(hosts, 51 + GRACE_S) == [1, 0]


def test_a_host_that_falls_behind_again_and_again_has_no_new_grace() -> None:
    hosts = Hosts(["board", "board"])
    for second in range(40):
        hosts.show(0, verdict(seq=second), second)
    assert missing(hosts, 40) == [0, 1]


def test_hosts_of_different_boards_are_not_compared() -> None:
    hosts = Hosts(["one", "two"])
    hosts.show(0, verdict(), 0)
    assert missing(hosts, 100) == [0, 0]
    assert hosts.review([READ, READ], 100) == []


def test_what_is_forged_from_the_future_untrusted_or_ended_does_not_count() -> None:
    hosts = Hosts(["board", "board"])
    hosts.show(0, Verdict("advert", None, None, None, False, Reason.BAD_SIGNATURE, ""), 0)
    for reason in (Reason.FUTURE, Reason.UNTRUSTED_OPERATOR):
        hosts.show(0, verdict(accepted=False, reason=reason), 0)
    hosts.show(0, verdict(expires_at=-1), 0)
    hosts.show(0, verdict("ends", expires_at=40), 0)
    assert missing(hosts, 39) == [0, 1]
    assert missing(hosts, 40) == [0, 0]


def test_revocations_and_lists_are_compared_too() -> None:
    hosts = Hosts(["board", "board"])
    hosts.show(0, verdict(kind="revocation", node=None, expires_at=None), 0)
    hosts.show(0, verdict(kind="curation", node=None), 0)
    assert missing(hosts, 50) == [0, 2]


def test_an_episode_is_told_once_and_its_end_once() -> None:
    hosts = Hosts(["board", "other", "board"])
    for node in ("a", "b"):
        hosts.show(0, verdict(node), 0)
    assert hosts.review([READ, READ, None], 50) == [], "not read wholly yet"
    [began] = hosts.review([READ] * 3, 51)
    assert (began.host, began.turn, began.missing, began.example) == (2, Turn.BEHIND, 2, ("advert", "0xa", "a"))
    assert hosts.review([READ] * 3, 52) == []
    for node in ("a", "b"):
        hosts.show(2, verdict(node), 53)
    [ended] = hosts.review([READ] * 3, 54)
    assert (ended.host, ended.turn, ended.missing) == (2, Turn.LEVEL, 0)
    assert hosts.review([READ] * 3, 55) == []


def test_a_host_is_level_with_what_it_shows_after_that_has_ceased_to_count() -> None:
    hosts = Hosts(["board", "board"])
    for node in ("dropped", "lapsed"):
        hosts.show(0, verdict(node), 0)
    hosts.show(1, verdict("dropped", accepted=False, reason=Reason.UNTRUSTED_OPERATOR), 1)
    hosts.show(1, verdict("lapsed", accepted=False, reason=Reason.DELEGATION_EXPIRED), 1)
    assert missing(hosts, 50) == [0, 0]
    hosts.show(0, verdict("dropped", seq=2), 51)
    hosts.show(1, verdict("dropped", accepted=False, reason=Reason.UNTRUSTED_OPERATOR), 51)
    assert missing(hosts, 51 + GRACE_S) == [0, 1], "what it shows is an older one"


def test_what_came_while_a_host_was_read_has_a_grace_after_that() -> None:
    hosts = Hosts(["board", "board"])
    hosts.show(0, verdict("before"), 100 - GRACE_S)
    hosts.show(0, verdict("while"), 110)
    reading = Reading(began=100, ended=200, settled=True)
    [began] = hosts.review([READ, reading], 201)
    assert (began.host, began.missing, began.example) == (1, 1, ("advert", "0xa", "before"))
    hosts.show(1, verdict("before"), 202)
    assert [one.turn for one in hosts.review([READ, reading], 203)] == [Turn.LEVEL]
    assert [one.missing for one in hosts.review([READ, reading], 200 + GRACE_S)] == [1]


def test_what_counts_by_new_rules_is_not_missed_before_a_host_is_read_by_them() -> None:
    hosts = Hosts(["board", "board"])
    hosts.show(0, verdict(), 100)
    assert hosts.review([READ, Reading(began=0, ended=10, settled=False)], 500) == []
    assert len(hosts.review([READ, Reading(began=400, ended=500, settled=False)], 501)) == 1
