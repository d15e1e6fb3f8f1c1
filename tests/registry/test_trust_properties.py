"""What holds of a reader whatever is posted, in whatever order, however often, with a restart at any point."""

from __future__ import annotations

import json
from collections import Counter
from itertools import zip_longest

import postings as p
from hypothesis import given, settings
from hypothesis import strategies as st
from postings import NOW
from test_trust import SEQ

from registry.advert import Envelope
from registry.signing import sign_advert
from registry.trust import Believed, Key, Policy, Trust

OLD = {"issued_at": NOW - 60, "expires_at": NOW - 1}
POOL = [
    p.own(),
    p.own(region="b"),
    p.own(seq=SEQ + 1),
    p.own(seq=SEQ + 7, **OLD),
    p.own(seq=SEQ + 5),
    p.own(seq=SEQ + 5, url="http://127.0.0.1:1"),
    p.own(seq=SEQ + 10**8),
    p.tombstone(seq=SEQ + 3),
    p.delegated(),
    p.delegated(seq=SEQ + 2),
    p.delegated(seq=SEQ + 2, region="b"),
    p.delegated(seq=SEQ + 4),
    p.delegated(p.delegation(expires_at=NOW + 30), seq=SEQ + 4),
    p.delegated(p.delegation(expires_at=NOW - 1), seq=SEQ + 9),
    p.delegated(signer=p.OTHER, seq=SEQ + 4, region="c"),
    p.delegated(signer=p.OTHER, seq=SEQ + 6),
    sign_advert(p.advert(), p.OTHER, p.NODE, None),
    p.revocation(p.DELEGATE.address),
    p.revocation(p.OTHER.address, seq=SEQ + 1),
    p.curation(operators=[p.OPERATOR.address], expires_at=NOW + 60),
    p.curation(seq=SEQ + 1, nodes=[p.NODE.public]),
    p.curation(seq=SEQ + 1, models={"m": "ab" * 32}),
]
POLICIES = [
    Policy.parse(("any",)),
    Policy.parse((p.OPERATOR.address,)),
    Policy.parse((f"curator:{p.CURATOR.address}",)),
    Policy.parse(("any", f"curator:{p.CURATOR.address}")),
]
orders = st.lists(st.sampled_from(range(len(POOL))), max_size=14)


def reader(policy: Policy, order: list[int]) -> Trust:
    trust = Trust(policy)
    for at in order:
        trust.consider(POOL[at].to_json(), NOW)
    return trust


def settled(policy: Policy, order: list[int]) -> Trust:
    """Reads everything again for as long as `policy_version` asks for it."""
    trust, version = reader(policy, order), -1
    while version != trust.policy_version:
        version = trust.policy_version
        for at in order:
            trust.consider(POOL[at].to_json(), NOW)
    return trust


def opinion(trust: Trust, now: float = NOW) -> object:
    believed = sorted((b.envelope.to_json(), b.valid_until, b.explicit) for b in trust.believed(now))
    return (
        believed,
        trust.curation(now),
        [trust.judge(envelope.to_json(), now).reason for envelope in POOL if envelope.kind != "revocation"],
    )


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(POLICIES), orders)
def test_at_most_one_text_of_a_node_is_accepted_and_it_is_the_one_believed(policy: Policy, order: list[int]) -> None:
    trust = settled(policy, order)
    accepted: dict[str, Envelope] = {}
    for at in order:
        verdict = trust.judge(POOL[at].to_json(), NOW)
        if verdict.accepted and verdict.kind == "advert":
            accepted[POOL[at].text] = POOL[at]
    assert len(accepted) <= 1
    believed = [b.advert.to_text() for b in trust.believed(NOW)]
    assert believed == [text for text in accepted if json.loads(text)["offers"]]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(POLICIES), orders, st.integers(0, 14))
def test_a_restart_anywhere_changes_nothing(policy: Policy, order: list[int], cut: int) -> None:
    whole = reader(policy, order)
    first = reader(policy, order[:cut])
    second = Trust(policy)
    second.restore(json.loads(json.dumps(first.snapshot(NOW))), NOW)
    for at in order[cut:]:
        second.consider(POOL[at].to_json(), NOW)
    assert opinion(second) == opinion(whole)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(POLICIES), orders)
def test_reading_everything_again_settles(policy: Policy, order: list[int]) -> None:
    trust = settled(policy, order)
    before, held = opinion(trust), Counter(map(json.dumps, trust.snapshot(NOW)))
    for at in order:
        trust.consider(POOL[at].to_json(), NOW)
    assert opinion(trust) == before
    assert Counter(map(json.dumps, trust.snapshot(NOW))) == held


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(POLICIES), orders, st.integers(0, 3 * p.DAY))
def test_an_older_seq_never_returns_while_no_delegate_is_revoked(policy: Policy, order: list[int], later: int) -> None:
    trust = Trust(policy)
    highest = 0
    for at in order:
        if POOL[at].kind == "revocation":
            continue
        trust.consider(POOL[at].to_json(), NOW)
        for believed in trust.believed(NOW):
            assert believed.advert.seq >= highest
            highest = believed.advert.seq
    assert all(b.advert.seq >= highest and b.valid_until > NOW + later for b in trust.believed(NOW + later))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(POLICIES), orders, st.lists(st.integers(0, 200), max_size=14))
def test_changes_add_up_to_what_is_believed(policy: Policy, order: list[int], waits: list[int]) -> None:
    """As a gateway applies them: one by one, all anew when the curators say something else."""
    trust, now, lists = Trust(policy), float(NOW), None
    known: dict[Key, Believed] = {}
    for at, wait in zip_longest(order, waits):
        if at is not None:
            trust.consider(POOL[at].to_json(), now)
        now += wait or 0
        if trust.curation(now) is not lists:
            lists = trust.curation(now)
            known = {change.key: change.believed for change in trust.afresh(now) if change.believed}
        for change in trust.changes(now):
            known.pop(change.key, None)
            if change.believed is not None:
                known[change.key] = change.believed
        assert list(known.values()) == trust.believed(now)
        assert list(trust.changes(now)) == []
