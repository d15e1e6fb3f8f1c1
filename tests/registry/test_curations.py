"""Policies and curators: who is trusted, and what lists say together."""

from __future__ import annotations

import postings as p
import pytest
from postings import NOW
from test_trust import SEQ, believed_seqs, reasons, restarted, told

from registry.advert import Reason
from registry.keys import Wallet
from registry.signing import sign_advert
from registry.trust import Policy, Trust

SECOND = Wallet(b"\x99" * 32)
CURATED = Policy.parse((f"curator:{p.CURATOR.address}",))


@pytest.mark.parametrize("entries", [(), ("",), ("all",), ("0x12",), ("curator:",), ("curator:any",), ("any", "x")])
def test_a_policy_that_is_not_understood_is_an_error(entries: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="trust"):
        Policy.parse(entries)


def test_a_policy_is_read_in_order_and_any_case() -> None:
    policy = Policy.parse(("CURATOR:" + p.CURATOR.address.upper(), "any", p.OTHER.address.replace("a", "A")), True)
    assert policy.entries == (f"curator:{p.CURATOR.address}", "any", p.OTHER.address)
    assert policy.any_operator and policy.operators == {p.OTHER.address} and policy.curators == (p.CURATOR.address,)
    assert policy.allow_private


def test_a_curator_adds_operators_and_the_caller_learns_it_must_fetch_again() -> None:
    trust = Trust(CURATED)
    assert reasons(told(trust, p.own())) == [Reason.UNTRUSTED_OPERATOR]
    before = trust.policy_version
    told(trust, p.curation(operators=[p.OPERATOR.address]))
    assert trust.policy_version != before
    assert reasons(told(trust, p.own())) == [None]
    assert [believed.explicit for believed in trust.believed(NOW)] == [True]


def test_a_curated_node_counts_whoever_operates_it() -> None:
    trust = Trust(CURATED)
    told(trust, p.curation(nodes=[p.NODE.public]))
    second = sign_advert(p.advert(node=p.NODE_2.public), p.OPERATOR, p.NODE_2, None)
    assert reasons(told(trust, p.own(), second)) == [None, Reason.UNTRUSTED_OPERATOR]
    assert [believed.explicit for believed in trust.believed(NOW)] == [True]


def test_a_curated_node_s_operator_can_revoke() -> None:
    trust = Trust(CURATED)
    told(trust, p.curation(nodes=[p.NODE.public]), p.revocation(p.DELEGATE.address))
    before = trust.policy_version
    told(trust, p.delegated())
    assert trust.policy_version != before, "its revocations were passed over so far"
    told(trust, p.revocation(p.DELEGATE.address), p.delegated())
    assert believed_seqs(trust) == []


@pytest.mark.parametrize("slug", ["a", "my_vm", "MyVM", "v1.2", "ab" * 32, "x" * 42, "x" * 44, "x" * 42 + "."])
def test_a_slug_may_be_any_short_name_or_item_hash(slug: str) -> None:
    trust = Trust(CURATED)
    assert reasons(told(trust, p.curation(slugs={slug: p.NODE.public}))) == [None]
    assert trust.curation(NOW).slugs == {slug: p.NODE.public}


@pytest.mark.parametrize("slug", ["", "-a", ".", "a/b", "a\n", "é", "x" * 65, "x" * 43, p.NODE.public])
def test_a_slug_is_never_of_the_form_of_a_node_key(slug: str) -> None:
    with pytest.raises(ValueError, match="a slug is"):
        p.curation(slugs={slug: "name"})


def test_trust_ends_with_the_list() -> None:
    trust = Trust(CURATED)
    told(trust, p.curation(operators=[p.OPERATOR.address], expires_at=NOW + 60), p.own())
    assert [believed.valid_until for believed in trust.believed(NOW)] == [NOW + 60]
    assert not trust.believed(NOW + 60)
    assert trust.judge(p.own().to_json(), NOW + 60).reason is Reason.UNTRUSTED_OPERATOR


def test_an_operator_that_is_taken_off_the_list_is_trusted_no_more() -> None:
    trust = Trust(CURATED)
    told(trust, p.curation(operators=[p.OPERATOR.address]), p.own(), p.curation(seq=SEQ + 1))
    assert not trust.believed(NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issued_at": NOW - p.DAY, "expires_at": NOW}, Reason.EXPIRED),
        ({"expires_at": NOW + 30 * p.DAY + 1}, Reason.LIFETIME),
        ({"seq": SEQ + 120_001}, Reason.FUTURE),
        ({"issued_at": NOW + 121}, Reason.FUTURE),
        ({"signer": SECOND}, Reason.UNTRUSTED_OPERATOR),
    ],
)
def test_lists_that_do_not_count(changes: dict[str, int], reason: Reason) -> None:
    trust = Trust(CURATED)
    assert reasons(told(trust, p.curation(operators=[p.OPERATOR.address], **changes))) == [reason]
    assert not trust.curation(NOW).operators


def test_the_highest_list_counts_after_its_end_and_a_restart_too() -> None:
    trust = Trust(CURATED)
    old = p.curation(slugs={"a": p.NODE.public})
    told(trust, old, p.curation(seq=SEQ + 1, expires_at=NOW + 60))
    for reader in (trust, restarted(trust, NOW + 90)):
        assert reasons(told(reader, old, now=NOW + 90)) == [Reason.STALE]
        assert not reader.curation(NOW + 90).slugs


def test_two_lists_with_one_seq_count_neither() -> None:
    trust = Trust(CURATED)
    pair = [p.curation(operators=[p.OPERATOR.address]), p.curation(operators=[p.OTHER.address])]
    assert reasons(told(trust, *pair)) == [Reason.EQUIVOCATION] * 2
    assert not trust.curation(NOW).operators and not restarted(trust).curation(NOW).operators
    assert reasons(told(trust, p.curation(seq=SEQ + 1))) == [None]


def test_where_curators_differ_the_order_of_the_policy_decides() -> None:
    first = p.curation(models={"m": "aa" * 32, "n": "aa" * 32}, slugs={"s": p.NODE.public}, operators=[p.OTHER.address])
    second = p.curation(SECOND, models={"m": "bb" * 32, "o": "bb" * 32}, slugs={"s": "name"}, nodes=[p.NODE.public])
    one, two = f"curator:{p.CURATOR.address}", f"curator:{SECOND.address}"
    for entries, of_m, of_s in (((one, two), "aa", p.NODE.public), ((two, one), "bb", "name")):
        trust = Trust(Policy.parse(entries))
        told(trust, first, second)
        merged = trust.curation(NOW)
        assert merged.models == {"m": of_m * 32, "n": "aa" * 32, "o": "bb" * 32} and merged.slugs == {"s": of_s}
        assert merged.operators == {p.OTHER.address} and merged.nodes == {p.NODE.public}


def test_floors_of_an_operator_survive_a_restart_while_its_list_has_lapsed() -> None:
    trust = Trust(CURATED)
    told(trust, p.curation(operators=[p.OPERATOR.address], expires_at=NOW + 60), p.own(seq=SEQ + 1))
    again = restarted(trust, NOW + 90)
    told(again, p.curation(seq=SEQ + 1, operators=[p.OPERATOR.address]), now=NOW + 90)
    assert reasons(told(again, p.own(), now=NOW + 90)) == [Reason.STALE]


def test_whom_a_curator_drops_is_told_at_once() -> None:
    trust = Trust(CURATED)
    lists: list[dict[str, list[str]]] = [{"operators": [p.OPERATOR.address]}, {"nodes": [p.NODE.public]}, {}]
    for number, named in enumerate(lists):
        list(trust.afresh(NOW))
        list(trust.changes(NOW))
        trust.consider(p.curation(seq=SEQ + number, **named).to_json(), NOW)
        trust.consider(p.own().to_json(), NOW)
        now_told = [change.believed is not None for change in trust.changes(NOW)]
        assert now_told == [bool(named)], named


def test_a_list_that_is_posted_again_or_is_of_old_changes_nothing() -> None:
    """Else anybody could have everything told afresh, again and again, by posting it."""
    trust = Trust(CURATED)
    old, new = p.curation(slugs={"s": "old"}), p.curation(seq=SEQ + 1, slugs={"s": "new"})
    told(trust, old, new)
    merged = trust.curation(NOW)
    told(trust, new, old, new)
    assert trust.curation(NOW) is merged and merged.slugs == {"s": "new"}


def test_a_list_counts_again_after_a_clock_was_set_back_and_right_again() -> None:
    trust = Trust(CURATED)
    told(trust, p.curation(operators=[p.OPERATOR.address]))
    assert not trust.curation(NOW - p.DAY).operators
    assert trust.curation(NOW).operators == {p.OPERATOR.address}
