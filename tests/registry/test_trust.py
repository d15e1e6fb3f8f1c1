"""What a reader believes, with no loop, no socket and no clock of its own."""

from __future__ import annotations

import json
from itertools import permutations

import postings as p
import pytest
from postings import NOW

from registry.advert import Envelope, Reason, canonical
from registry.claims import MAX_SIGNERS
from registry.keys import NodeKey, Wallet
from registry.ledger import MAX_DELEGATE_BYTES, MAX_OPERATOR_BYTES
from registry.signing import sign_advert
from registry.trust import Policy, Trust, Verdict

ANY = Policy.parse(("any",))
NAMED = Policy.parse((p.OPERATOR.address,))


def told(trust: Trust, *envelopes: Envelope, now: float = NOW) -> list[Verdict]:
    """Consider all, then judge each by all that is known."""
    for envelope in envelopes:
        trust.consider(envelope.to_json(), now)
    return [trust.judge(envelope.to_json(), now) for envelope in envelopes]


def reasons(verdicts: list[Verdict]) -> list[Reason | None]:
    return [verdict.reason for verdict in verdicts]


def believed_seqs(trust: Trust, now: float = NOW) -> list[int]:
    return [believed.advert.seq for believed in trust.believed(now)]


SEQ = NOW * 1000


def test_a_valid_advert_is_believed() -> None:
    trust = Trust(NAMED)
    verdict = trust.consider(p.own().to_json(), NOW)
    assert verdict == Verdict("advert", p.OPERATOR.address, p.NODE.public, SEQ, True, None, "")
    [believed] = trust.believed(NOW)
    assert (believed.advert, believed.envelope, believed.explicit) == (p.advert(), p.own(), True)
    assert believed.valid_until == NOW + 3600
    assert "nodes=1" in repr(trust)


def test_any_trusts_but_not_explicitly() -> None:
    trust = Trust(ANY)
    told(trust, p.own())
    assert [believed.explicit for believed in trust.believed(NOW)] == [False]


def test_an_untrusted_operator_takes_no_memory() -> None:
    trust = Trust(Policy.parse((p.OTHER.address,)))
    verdicts = told(trust, p.own(), p.delegated(), p.revocation(p.DELEGATE.address), p.tombstone(), p.curation())
    assert reasons(verdicts) == [Reason.UNTRUSTED_OPERATOR] * 5
    assert trust.snapshot(NOW) == [] and "operators=0" in repr(trust)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issued_at": NOW - 7200, "expires_at": NOW}, Reason.EXPIRED),
        ({"expires_at": NOW + 86_401}, Reason.LIFETIME),
        ({"issued_at": NOW + 60, "expires_at": NOW + 60}, Reason.LIFETIME),
        ({"issued_at": NOW + 121, "expires_at": NOW + 3600}, Reason.FUTURE),
        ({"seq": (NOW + 120) * 1000 + 1}, Reason.FUTURE),
        ({"url": "http://example.org"}, Reason.URL_REFUSED),
        ({"url": "https://10.0.0.1"}, Reason.URL_REFUSED),
        ({"url": "https://[::1]"}, Reason.URL_REFUSED),
    ],
)
def test_each_refusal_has_its_name(changes: dict[str, object], reason: Reason) -> None:
    trust = Trust(NAMED)
    assert reasons(told(trust, p.own(**changes))) == [reason]
    assert not trust.believed(NOW)


def test_the_edges_of_time_are_in() -> None:
    edge = p.own(seq=(NOW + 120) * 1000, issued_at=NOW + 120, expires_at=NOW + 120 + 86_400)
    trust = Trust(NAMED)
    assert reasons(told(trust, edge)) == [None]
    assert trust.believed(NOW + 120 + 86_399) and not trust.believed(NOW + 120 + 86_400)


def test_private_urls_are_for_those_who_allow_them() -> None:
    trust = Trust(Policy.parse(("any",), allow_private=True))
    assert reasons(told(trust, p.own(url="http://127.0.0.1:8801"))) == [None]
    barred = told(trust, p.own(seq=SEQ + 1, url="http://169.254.169.254"))
    assert reasons(barred) == [Reason.URL_REFUSED]


def test_the_highest_seq_wins_in_any_order() -> None:
    for order in permutations([p.own(seq=SEQ), p.own(seq=SEQ + 1), p.delegated(seq=SEQ + 2)]):
        trust = Trust(NAMED)
        by_seq = {verdict.seq: verdict.reason for verdict in told(trust, *order)}
        assert by_seq == {SEQ: Reason.STALE, SEQ + 1: Reason.STALE, SEQ + 2: None}
        assert believed_seqs(trust) == [SEQ + 2]


def test_the_floor_stays_after_expiry() -> None:
    trust = Trust(NAMED)
    told(trust, p.own(seq=SEQ + 1, expires_at=NOW + 10))
    assert reasons(told(trust, p.own(seq=SEQ), now=NOW + 20)) == [Reason.STALE]
    assert not trust.believed(NOW + 20)


def test_an_expired_advert_sets_a_floor() -> None:
    trust = Trust(NAMED)
    expired = p.own(seq=SEQ + 1, issued_at=NOW - 20, expires_at=NOW - 10)
    assert reasons(told(trust, expired, p.own())) == [Reason.EXPIRED, Reason.STALE]
    delegated = Trust(NAMED)
    expired = p.delegated(seq=SEQ + 1, issued_at=NOW - 20, expires_at=NOW - 10)
    assert reasons(told(delegated, expired, p.own())) == [Reason.EXPIRED, Reason.STALE]


def test_a_future_advert_sets_no_floor() -> None:
    trust = Trust(NAMED)
    assert reasons(told(trust, p.own(seq=SEQ + 10**9), p.own())) == [Reason.FUTURE, None]


def test_the_same_again_is_nothing_new() -> None:
    trust = Trust(NAMED)
    assert reasons(told(trust, p.own(), p.own(), p.own())) == [None] * 3
    assert len(trust.snapshot(NOW)) == 1


def test_a_tombstone_retires_and_the_older_advert_is_stale() -> None:
    trust = Trust(NAMED)
    verdicts = told(trust, p.own(), p.tombstone(seq=SEQ + 1), p.own())
    assert reasons(verdicts) == [Reason.STALE, None, Reason.STALE]
    assert not trust.believed(NOW)
    told(trust, p.own(seq=SEQ + 2))
    assert believed_seqs(trust) == [SEQ + 2]


def test_nodes_and_operators_have_floors_of_their_own() -> None:
    trust = Trust(ANY)
    second = sign_advert(p.advert(node=p.NODE_2.public, seq=SEQ - 5), p.OPERATOR, p.NODE_2, None)
    other = sign_advert(p.advert(operator=p.OTHER.address, seq=SEQ - 9), p.OTHER, p.NODE, None)
    assert reasons(told(trust, p.own(), second, other)) == [None] * 3
    assert sorted(believed_seqs(trust)) == [SEQ - 9, SEQ - 5, SEQ]


# --- delegates


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_at": NOW}, Reason.DELEGATION_EXPIRED),
        ({"issued_at": NOW - 3600, "expires_at": NOW - 1}, Reason.DELEGATION_EXPIRED),
        ({"issued_at": NOW - 60, "expires_at": NOW - 59 + 30 * p.DAY}, Reason.LIFETIME),
        ({"issued_at": NOW + 121}, Reason.FUTURE),
    ],
)
def test_a_delegation_that_does_not_hold_carries_nothing(changes: dict[str, int], reason: Reason) -> None:
    trust = Trust(NAMED)
    high = p.delegated(p.delegation(**changes), seq=SEQ + 100)
    assert reasons(told(trust, high, p.own())) == [reason, None], "it sets no floor"


def test_an_advert_ends_with_its_delegation() -> None:
    trust = Trust(NAMED)
    told(trust, p.delegated(p.delegation(expires_at=NOW + 60)))
    assert [believed.valid_until for believed in trust.believed(NOW)] == [NOW + 60]
    assert not trust.believed(NOW + 60)
    assert reasons(told(trust, p.own(seq=SEQ - 1), now=NOW + 61)) == [Reason.STALE], "the floor stays"


def test_the_same_advert_under_a_longer_delegation_lives_longer() -> None:
    trust = Trust(NAMED)
    told(trust, p.delegated(p.delegation(expires_at=NOW + 60)), p.delegated(p.delegation(expires_at=NOW + 90)))
    told(trust, p.delegated(p.delegation(expires_at=NOW + 30)))
    assert [believed.valid_until for believed in trust.believed(NOW)] == [NOW + 90]


def test_a_revoked_delegate_s_adverts_and_floor_are_dropped() -> None:
    for order in permutations([p.delegated(seq=SEQ + 5), p.revocation(p.DELEGATE.address), p.own()]):
        trust = Trust(NAMED)
        told(trust, *order)
        assert believed_seqs(trust) == [SEQ]
        assert trust.judge(p.delegated(seq=SEQ + 9).to_json(), NOW).reason is Reason.REVOKED
        assert trust.judge(p.revocation(p.DELEGATE.address).to_json(), NOW).accepted


def test_after_a_revocation_the_next_best_counts_again() -> None:
    third = Wallet(b"\x88" * 32)
    trust = Trust(NAMED)
    told(trust, p.delegated(signer=third, seq=SEQ + 1), p.delegated(seq=SEQ + 2))
    before = trust.policy_version
    told(trust, p.revocation(p.DELEGATE.address))
    assert believed_seqs(trust) == [SEQ + 1] and trust.policy_version != before


def test_revocations_add_up_and_are_never_undone() -> None:
    trust = Trust(NAMED)
    told(trust, p.revocation(p.DELEGATE.address, seq=5), p.revocation(p.OTHER.address, seq=9), p.revocation(seq=99))
    verdicts = told(trust, p.delegated(), p.delegated(signer=p.OTHER))
    assert reasons(verdicts) == [Reason.REVOKED, Reason.REVOKED]


def test_an_operator_revokes_only_for_itself() -> None:
    trust = Trust(ANY)
    told(trust, p.revocation(p.DELEGATE.address, signer=p.OTHER), p.delegated())
    assert believed_seqs(trust) == [SEQ]


# --- equivocation


def test_two_texts_with_one_seq_quarantine_the_node() -> None:
    one, two = p.delegated(), p.delegated(region="elsewhere")
    trust = Trust(NAMED)
    assert reasons(told(trust, one, two)) == [Reason.EQUIVOCATION] * 2
    assert not trust.believed(NOW)
    assert reasons(told(trust, p.delegated(seq=SEQ + 1))) == [Reason.EQUIVOCATION], "a delegate does not settle it"
    assert reasons(told(trust, p.own(seq=SEQ - 1))) == [Reason.STALE]
    assert reasons(told(trust, p.own(seq=SEQ))) == [Reason.EQUIVOCATION]
    assert not trust.believed(NOW)
    assert reasons(told(trust, p.own(seq=SEQ + 2))) == [None]
    assert believed_seqs(trust) == [SEQ + 2]
    assert reasons(told(trust, one, two)) == [Reason.EQUIVOCATION] * 2, "the proof is kept"


def test_the_proof_does_not_age() -> None:
    one, two = p.own(expires_at=NOW + 10), p.own(expires_at=NOW + 11)
    trust = Trust(NAMED)
    told(trust, one, two)
    assert reasons(told(trust, one, two, now=NOW + 60)) == [Reason.EQUIVOCATION] * 2


def test_equivocation_needs_two_fully_valid_texts() -> None:
    expired = p.own(expires_at=NOW - 1, issued_at=NOW - 60)
    private = p.own(url="https://10.0.0.1")
    for bad, reason in ((expired, Reason.EXPIRED), (private, Reason.URL_REFUSED)):
        for order in ((bad, p.own()), (p.own(), bad)):
            trust = Trust(NAMED)
            told(trust, *order)
            assert believed_seqs(trust) == [SEQ]
            assert trust.judge(bad.to_json(), NOW).reason is reason


def test_a_forger_cannot_quarantine_a_node() -> None:
    trust = Trust(NAMED)
    forged = [
        sign_advert(p.advert(region="x"), p.OTHER, p.NODE, None),
        sign_advert(p.advert(region="x"), p.OPERATOR, p.NODE_2, None),
        p.delegated(p.delegation(expires_at=NOW), region="x"),
    ]
    told(trust, p.own(), *forged)
    assert believed_seqs(trust) == [SEQ]


def test_the_same_text_by_two_signers_is_no_equivocation() -> None:
    trust = Trust(NAMED)
    assert reasons(told(trust, p.own(), p.delegated())) == [None, None]


def test_revoking_the_equivocator_frees_the_node() -> None:
    trust = Trust(NAMED)
    told(trust, p.delegated(signer=p.OTHER), p.delegated(region="x"), p.revocation(p.DELEGATE.address))
    assert believed_seqs(trust) == [SEQ]


def test_a_higher_delegate_s_advert_counts_once_the_operator_has_settled() -> None:
    trust = Trust(NAMED)
    told(trust, p.delegated(), p.delegated(region="x"), p.delegated(seq=SEQ + 9), p.own(seq=SEQ + 1))
    assert believed_seqs(trust) == [SEQ + 9]


# --- restarts


def restarted(trust: Trust, now: float = NOW, policy: Policy | None = None) -> Trust:
    again = Trust(policy or trust.policy)
    again.restore(json.loads(json.dumps(trust.snapshot(now))), now)
    return again


def test_a_restart_changes_nothing() -> None:
    trust = Trust(Policy.parse(("any", f"curator:{p.CURATOR.address}")))
    everything = [
        p.own(),
        p.delegated(seq=SEQ + 1),
        p.revocation(p.OTHER.address),
        p.curation(operators=[p.OPERATOR.address], slugs={"x": p.NODE.public}),
    ]
    told(trust, *everything)
    again = restarted(trust)
    assert [again.judge(e.to_json(), NOW) for e in everything] == [trust.judge(e.to_json(), NOW) for e in everything]
    assert again.believed(NOW) == trust.believed(NOW) and again.curation(NOW) == trust.curation(NOW)
    assert again.judge(p.delegated(signer=p.OTHER).to_json(), NOW).reason is Reason.REVOKED


def test_floors_survive_expiry_the_delegation_s_end_and_a_restart() -> None:
    trust = Trust(NAMED)
    told(trust, p.delegated(p.delegation(expires_at=NOW + 60), seq=SEQ + 1, expires_at=NOW + 60))
    later = NOW + 90
    again = restarted(restarted(trust, later), later)
    assert not again.believed(later)
    assert reasons(told(again, p.own(), now=later)) == [Reason.STALE]


def test_a_proof_survives_a_restart_and_its_age() -> None:
    trust = Trust(NAMED)
    pair = [p.delegated(p.delegation(expires_at=NOW + 90)), p.delegated(p.delegation(expires_at=NOW + 90), region="x")]
    told(trust, *pair)
    again = restarted(trust, NOW + 3 * p.DAY)
    fresh = {"seq": SEQ + 1, "issued_at": NOW + 3 * p.DAY, "expires_at": NOW + 4 * p.DAY}
    assert reasons(told(again, p.delegated(**fresh), now=NOW + 3 * p.DAY)) == [Reason.EQUIVOCATION]
    assert reasons(told(again, p.own(**fresh), now=NOW + 3 * p.DAY)) == [None]


def test_a_snapshot_is_believed_in_nothing_but_signatures() -> None:
    forged = sign_advert(p.advert(seq=SEQ + 50), p.OTHER, p.NODE, None).to_dict()
    stolen = p.delegated(p.delegation(expires_at=NOW - 10), seq=(NOW + 115) * 1000).to_dict()
    junk = [{}, {"kind": "advert"}, {"kind": 3}, {"x": ["y"]}, {**p.own().to_dict(), "text": "{}"}]
    trust = Trust(NAMED)
    trust.restore([forged, stolen, *junk], NOW)
    assert not trust.believed(NOW)
    assert reasons(told(trust, p.own())) == [None], "neither set a floor"


def test_a_snapshot_does_not_widen_the_policy() -> None:
    trust = Trust(ANY)
    told(trust, p.own())
    assert not restarted(trust, policy=Policy.parse((p.OTHER.address,))).believed(NOW)


# --- bounds


def test_what_one_delegate_can_make_a_reader_keep_is_bounded() -> None:
    trust = Trust(NAMED)
    pad = "x" * 60_000
    kept = 0
    for number in range(2 * MAX_DELEGATE_BYTES // 60_000):
        node = NodeKey(number.to_bytes(32, "big"))
        text = canonical(p.raw(node=node.public, pad=pad))
        envelope = p.forged(text, p.DELEGATE, node)
        posting = Envelope(envelope.kind, text, envelope.signature, envelope.node_signature, p.delegation())
        verdict = trust.consider(posting.to_json(), NOW)
        kept += verdict.accepted
        assert verdict.accepted or verdict.reason is Reason.TOO_LARGE
    assert sum(len(item["text"]) for item in trust.snapshot(NOW)) <= MAX_DELEGATE_BYTES < MAX_OPERATOR_BYTES
    assert kept == len(trust.believed(NOW)) > 20
    assert trust.consider(p.own().to_json(), NOW).accepted, "the operator itself is not crowded out"
    told(trust, p.revocation(p.DELEGATE.address))
    assert believed_seqs(trust) == [SEQ]


def test_the_room_of_what_ended_long_ago_is_used_again() -> None:
    trust = Trust(NAMED)
    pad = "x" * 60_000
    later = NOW + 3 * p.DAY
    for now in (NOW, later):
        for number in range(MAX_DELEGATE_BYTES // 61_000):
            node = NodeKey((now + number).to_bytes(32, "big"))
            fields = p.raw(node=node.public, pad=pad, issued_at=now, expires_at=now + 60, seq=now * 1000)
            envelope = p.forged(canonical(fields), p.DELEGATE, node)
            posting = Envelope(
                envelope.kind, envelope.text, envelope.signature, envelope.node_signature, p.delegation()
            )
            assert trust.consider(posting.to_json(), now).accepted


def test_signers_of_one_node_are_bounded() -> None:
    trust = Trust(NAMED)
    for number in range(1, 3 * MAX_SIGNERS):
        told(trust, p.delegated(signer=Wallet(number.to_bytes(32, "big")), seq=SEQ + number))
    assert len(trust.snapshot(NOW)) == MAX_SIGNERS
    assert believed_seqs(trust) == [SEQ + 3 * MAX_SIGNERS - 1]


def test_garbage_is_named_and_leaves_no_trace() -> None:
    trust = Trust(ANY)
    for raw in ("", "garbage", "[" * 50_000, "\ud800", "\x00", "{}", '{"kind":"advert"}', "x" * 10**6, p.own().text):
        verdict = trust.consider(raw, NOW)
        assert not verdict.accepted and verdict.reason in (Reason.MALFORMED, Reason.TOO_LARGE)
        assert (verdict.operator, verdict.node, verdict.seq) == (None, None, None)
    assert trust.snapshot(NOW) == []


def test_judging_changes_nothing() -> None:
    trust = Trust(NAMED)
    assert trust.judge(p.own().to_json(), NOW).accepted
    assert not trust.believed(NOW) and trust.snapshot(NOW) == []
