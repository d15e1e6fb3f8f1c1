"""Opening: content comes out only when everything about it is authentic, and each fault has its name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import postings as p
import pytest

from registry.advert import Advert, Envelope, Reason, Refused, canonical
from registry.keys import Wallet
from registry.signing import next_seq, open_delegation, open_signed, sign_advert, sign_revocation

SMALL_ORDER = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "7P_______________________________________38",
    "7v_______________________________________38",  # y = 1 again, not reduced
    "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
    "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
]


def refusal(envelope: Envelope) -> Reason:
    with pytest.raises(Refused) as refused:
        open_signed(envelope)
    assert str(refused.value) == f"{refused.value.reason}: {refused.value.detail}"
    return refused.value.reason


def test_what_the_operator_signed_opens() -> None:
    opened = open_signed(p.own())
    assert isinstance(opened, Advert) and opened == p.advert()


def test_what_a_delegate_signed_opens() -> None:
    assert isinstance(open_signed(p.delegated()), Advert)
    scoped = p.delegation(node=p.NODE.public, url_suffixes=["x.example", "2n6.me"])
    assert isinstance(open_signed(p.delegated(scoped)), Advert)


def test_unknown_fields_are_kept() -> None:
    text = canonical(p.raw({"speed": [1, None]}, motto="hé"))
    opened = open_signed(p.forged(text))
    assert opened.to_text() == text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"v": 2}, Reason.VERSION),
        ({"v": 0}, Reason.VERSION),
        ({"v": True}, Reason.MALFORMED),
        ({"v": "1"}, Reason.MALFORMED),
        ({"v": None}, Reason.MALFORMED),
        ({"seq": "7"}, Reason.MALFORMED),
        ({"seq": True}, Reason.MALFORMED),
        ({"seq": -1}, Reason.MALFORMED),
        ({"issued_at": None}, Reason.MALFORMED),
        ({"operator": p.OPERATOR.address.upper()}, Reason.MALFORMED),
        ({"operator": p.OPERATOR.address[:-1]}, Reason.MALFORMED),
        ({"operator": p.OPERATOR.address + "\n"}, Reason.MALFORMED),
        ({"node": p.NODE.public + "="}, Reason.MALFORMED),
        ({"node": p.NODE.public[:-1] + "5"}, Reason.MALFORMED),
        ({"node": p.NODE.public[:-1]}, Reason.MALFORMED),
        *[({"node": key}, Reason.MALFORMED) for key in SMALL_ORDER],
        ({"tls_spki_sha256": "AB" * 32}, Reason.MALFORMED),
        ({"tls_spki_sha256": ""}, Reason.MALFORMED),
        ({"url": 1}, Reason.MALFORMED),
        ({"url": "https://example.org/"}, Reason.URL_REFUSED),
        ({"url": "http://169.254.169.254/"}, Reason.URL_REFUSED),
        ({"offers": {}}, Reason.MALFORMED),
        ({"offers": None}, Reason.MALFORMED),
        ({"offers": [1]}, Reason.MALFORMED),
        ({"vm": []}, Reason.MALFORMED),
        ({"region": "\x1b[2J"}, Reason.MALFORMED),
        ({"hardware": {"vram_mib": "24"}}, Reason.MALFORMED),
    ],
)
def test_fields_are_read_strictly(changes: dict[str, Any], reason: Reason) -> None:
    assert refusal(p.forged(canonical(p.raw(**changes)))) is reason


@pytest.mark.parametrize(
    "changes",
    [
        {"model": ""}, {"model": "-x"}, {"model": "a" * 129}, {"model": "a b"}, {"model": "é"}, {"model": 1},
        {"aliases": ["ok", "not ok"]}, {"aliases": "smollm2"}, {"endpoints": ["Chat"]}, {"weights_sha256": "ab"},
        {"context_length": 0}, {"context_length": "8192"}, {"parallel": None}, {"parallel": True}, {"resume": 1},
        {"warm": "true"}, {"engine": ""}, {"engine": None}, {"prices": [{"unit": "usd", "amount": 1}]},
        {"prices": [{"unit": "usd", "amount": "1e3"}]}, {"prices": [{"unit": "usd", "amount": ".5"}]},
        {"prices": [{"unit": "usd", "amount": "-1"}]}, {"prices": [{"unit": "usd", "amount": "00"}]},
        {"prices": [{"amount": "1"}]}, {"prices": None}, {"modalities": [None]},
    ],
)  # fmt: skip
def test_offers_are_read_strictly(changes: dict[str, Any]) -> None:
    assert refusal(p.forged(canonical(p.raw(changes)))) is Reason.MALFORMED


@pytest.mark.parametrize("field", sorted(p.raw()))
def test_no_field_may_be_missing(field: str) -> None:
    fields = p.raw()
    del fields[field]
    assert refusal(p.forged(canonical(fields))) is Reason.MALFORMED


@pytest.mark.parametrize("field", sorted(p.OFFER))
def test_no_field_of_an_offer_may_be_missing(field: str) -> None:
    fields = p.raw()
    del fields["offers"][0][field]
    assert refusal(p.forged(canonical(fields))) is Reason.MALFORMED


def test_faults_are_named_in_the_order_of_the_document() -> None:
    spaced = json.dumps(p.raw(v=2, seq="x"))
    assert refusal(p.forged(spaced)) is Reason.NOT_CANONICAL
    assert refusal(p.forged(canonical(p.raw(v=2, seq="x")), signer=p.OTHER)) is Reason.VERSION
    assert refusal(p.forged(canonical(p.raw(seq="x")), signer=p.OTHER)) is Reason.MALFORMED
    assert refusal(p.forged("{" + " " * 70_000)) is Reason.TOO_LARGE


def test_a_text_of_64_kib_opens_and_one_byte_more_does_not() -> None:
    room = 65_536 - len(canonical(p.raw(pad="")))
    assert open_signed(p.forged(canonical(p.raw(pad="x" * room))))
    over = json.dumps(p.raw(pad="x" * (room + 1)), separators=(",", ":"), sort_keys=True)
    assert refusal(p.forged(over)) is Reason.TOO_LARGE


def test_another_wallet_is_the_wrong_signer() -> None:
    assert refusal(sign_advert(p.advert(), p.OTHER, p.NODE, None)) is Reason.WRONG_SIGNER
    assert refusal(p.delegated(p.delegation(), signer=p.OTHER)) is Reason.WRONG_SIGNER
    assert refusal(p.delegated(p.delegation(), signer=p.OPERATOR)) is Reason.WRONG_SIGNER


def test_a_changed_text_is_the_wrong_signer() -> None:
    envelope = p.own()
    moved = replace(envelope, text=envelope.text.replace("w1-w2", "w1-w3"))
    assert refusal(moved) is Reason.WRONG_SIGNER


def _signature(r: str | None = None, s: int | None = None, v: str | None = None) -> str:
    signature = p.own().signature
    middle = signature[66:130] if s is None else f"{s:064x}"
    return "0x" + (r or signature[2:66]) + middle + (v or signature[130:])


ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
S = int(p.own().signature[66:130], 16)
TWIN_V = "1b" if p.own().signature.endswith("1c") else "1c"


@pytest.mark.parametrize(
    "signature",
    [
        "", "0x", p.own().signature[2:], p.own().signature.upper(), p.own().signature[:-2], p.own().signature + "00",
        p.own().signature + "\n", _signature(s=ORDER - S, v=TWIN_V), _signature(v="00"), _signature(v="01"),
        _signature(v="1d"), _signature(v="25"), _signature(s=0), _signature(r="0" * 64), _signature(r="f" * 64),
    ],
)  # fmt: skip
def test_a_signature_has_one_form(signature: str) -> None:
    assert refusal(replace(p.own(), signature=signature)) is Reason.BAD_SIGNATURE


def test_the_other_v_recovers_somebody_else() -> None:
    assert refusal(replace(p.own(), signature=_signature(v=TWIN_V))) in (Reason.WRONG_SIGNER, Reason.BAD_SIGNATURE)


@pytest.mark.parametrize("signature", [None, "", "x", p.NODE.sign(b"other"), p.NODE_2.sign(b"x")])
def test_the_node_must_have_signed(signature: str | None) -> None:
    assert refusal(replace(p.own(), node_signature=signature)) is Reason.BAD_NODE_SIGNATURE


def test_nobody_advertises_another_node_s_key() -> None:
    assert refusal(sign_advert(p.advert(), p.OPERATOR, p.NODE_2, None)) is Reason.BAD_NODE_SIGNATURE


def test_only_the_operator_s_own_tombstone_needs_no_node() -> None:
    assert open_signed(p.tombstone())
    by_delegate = sign_advert(p.advert(offers=[]), p.DELEGATE, None, p.delegation())
    assert refusal(by_delegate) is Reason.BAD_NODE_SIGNATURE
    assert open_signed(p.delegated(offers=[]))


def test_a_delegation_must_open_and_be_the_operator_s() -> None:
    good = p.delegation()
    for bad in (
        p.delegation(signer=p.OTHER),
        p.delegation(operator=p.OTHER.address, signer=p.OTHER),
        {**good, "text": good["text"].replace('"v":1', '"v":2')},
        {**good, "text": good["text"] + " "},
        {**good, "signature": "0x"},
        {"text": "", "signature": ""},
    ):
        assert refusal(p.delegated(bad)) is Reason.NO_DELEGATION
    assert refusal(replace(p.own(), delegation={"text": "{}", "signature": "0x"})) is Reason.NO_DELEGATION


def test_a_delegation_covers_its_node_and_hosts_alone() -> None:
    assert refusal(p.delegated(p.delegation(node=p.NODE_2.public))) is Reason.OUT_OF_SCOPE
    assert refusal(p.delegated(p.delegation(url_suffixes=["example.org"]))) is Reason.OUT_OF_SCOPE
    assert refusal(p.delegated(p.delegation(url_suffixes=[]))) is Reason.OUT_OF_SCOPE


def test_open_delegation_tells_its_own_faults() -> None:
    with pytest.raises(Refused) as refused:
        open_delegation({"text": p.delegation()["text"]})
    assert refused.value.reason is Reason.MALFORMED
    with pytest.raises(Refused) as refused:
        open_delegation(p.delegation(signer=p.OTHER))
    assert refused.value.reason is Reason.WRONG_SIGNER


def test_one_kind_is_not_taken_for_another() -> None:
    revocation = p.revocation(p.DELEGATE.address)
    curation = p.curation()
    assert open_signed(revocation) and open_signed(curation)
    assert refusal(replace(revocation, kind=curation.kind)) is Reason.MALFORMED
    assert refusal(replace(curation, kind=p.own().kind)) is Reason.MALFORMED
    assert refusal(replace(revocation, signature=p.own().signature)) is Reason.WRONG_SIGNER


def test_a_revocation_is_the_operator_s_alone() -> None:
    content = open_signed(p.revocation(p.DELEGATE.address))
    envelope = sign_revocation(content, p.OTHER)  # type: ignore[arg-type]
    assert refusal(envelope) is Reason.WRONG_SIGNER


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", Reason.MALFORMED), ("[]", Reason.MALFORMED), ("{}", Reason.MALFORMED), (b"\xff{}", Reason.MALFORMED),
        ("x" * 300_000, Reason.TOO_LARGE), (b" " * 300_000, Reason.TOO_LARGE), ("[" * 100_000, Reason.MALFORMED),
        ('{"kind":"gossip","text":"","signature":""}', Reason.MALFORMED),
        ('{"kind":"advert","text":"","signature":""}', Reason.MALFORMED),
        ('{"kind":"advert","text":"","signature":"","node_signature":null}', Reason.MALFORMED),
        ('{"kind":"advert","text":{},"signature":"","node_signature":null,"delegation":null}', Reason.MALFORMED),
        ('{"kind":"advert","text":"","signature":"","node_signature":7,"delegation":null}', Reason.MALFORMED),
        ('{"kind":"advert","text":"","signature":"","node_signature":null,"delegation":[]}', Reason.MALFORMED),
        ('{"kind":"advert","text":"","signature":"","node_signature":null,"delegation":{"text":""}}', Reason.MALFORMED),
        ('{"kind":"revocation","kind":"revocation","text":"","signature":""}', Reason.MALFORMED),
        ('{"kind":"revocation","text":"\ud800","signature":""}', Reason.MALFORMED),
    ],
)  # fmt: skip
def test_an_envelope_is_read_strictly(raw: str | bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        Envelope.parse(raw)
    assert refused.value.reason is reason


def test_an_envelope_survives_its_json() -> None:
    for envelope in (p.own(region="zürich"), p.delegated(), p.tombstone(), p.revocation(), p.curation()):
        assert Envelope.parse(envelope.to_json()) == envelope == Envelope.parse(envelope.to_json().encode())


def test_the_largest_text_fits_into_an_envelope_however_it_is_escaped() -> None:
    room = 65_536 - len(canonical(p.raw(pad="")))
    envelope = p.forged(canonical(p.raw(pad='"' * (room // 2))))
    assert open_signed(Envelope.parse(envelope.to_json()))


def test_next_seq_is_time_or_one_more() -> None:
    assert next_seq(12.3456, 0) == 12345
    assert next_seq(12.3456, 12345) == 12346
    assert next_seq(12.3456, 99999) == 100000


def test_signing_refuses_what_would_be_too_large() -> None:
    with pytest.raises(ValueError, match="65536"):
        sign_advert(p.advert(offers=[p.OFFER] * 200), Wallet.new(), p.NODE, None)
