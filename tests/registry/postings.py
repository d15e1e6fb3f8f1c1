"""Valid adverts, delegations, revocations and lists by fixed keys, for the tests to bend. Nothing here is a secret."""

from __future__ import annotations

import hashlib
from typing import Any

from registry.advert import Advert, Curation, Delegation, Envelope, Kind, Revocation
from registry.keys import NodeKey, Wallet
from registry.signing import TAG_ADVERT, sign_advert, sign_curation, sign_delegation, sign_revocation

NOW = 1_795_226_868
DAY = 86_400

OPERATOR = Wallet(b"\x11" * 32)
DELEGATE = Wallet(b"\x22" * 32)
OTHER = Wallet(b"\x66" * 32)
CURATOR = Wallet(b"\x55" * 32)
NODE = NodeKey(b"\x33" * 32)
NODE_2 = NodeKey(b"\x77" * 32)
GATEWAY = NodeKey(b"\x44" * 32)

OFFER: dict[str, Any] = {
    "model": "smollm2-135m-instruct",
    "aliases": ["smollm2"],
    "endpoints": ["chat.completions", "completions"],
    "weights_sha256": "ab" * 32,
    "template_sha256": None,
    "quantization": "Q4_1",
    "context_length": 8192,
    "parallel": 4,
    "modalities": ["text"],
    "engine": "llama.cpp/0.3.36",
    "resume": True,
    "warm": True,
    "prices": [{"unit": "usd/1M prompt tokens", "amount": "0.05"}],
}


def advert(**changes: Any) -> Advert:
    """The operator's advert of NODE, issued at NOW for an hour."""
    fields: dict[str, Any] = {
        "operator": OPERATOR.address,
        "node": NODE.public,
        "seq": NOW * 1000,
        "issued_at": NOW,
        "expires_at": NOW + 3600,
        "url": "https://w1-w2-w3-w4.2n6.me",
        "tls_spki_sha256": "cd" * 32,
        "offers": [OFFER],
    }
    return Advert(**{**fields, **changes})


def delegation(**changes: Any) -> dict[str, str]:
    """The operator's delegation to DELEGATE, for a week, signed."""
    signer = changes.pop("signer", OPERATOR)
    fields: dict[str, Any] = {
        "operator": OPERATOR.address,
        "delegate": DELEGATE.address,
        "node": None,
        "issued_at": NOW - 60,
        "expires_at": NOW + 7 * DAY,
        "url_suffixes": None,
    }
    return sign_delegation(Delegation(**{**fields, **changes}), signer)


def own(**changes: Any) -> Envelope:
    """An advert by the operator's own wallet."""
    return sign_advert(advert(**changes), OPERATOR, NODE, None)


def delegated(given: dict[str, str] | None = None, signer: Wallet = DELEGATE, **changes: Any) -> Envelope:
    """An advert by a delegate."""
    return sign_advert(advert(**changes), signer, NODE, given or delegation(delegate=signer.address))


def largest() -> Envelope:
    """An advert whose text is as long as a text may be, by a delegate whose delegation is long too."""
    suffixes = [f"{number:03}.{'a' * 50}.example" for number in range(900)]
    given = delegation(delegate=DELEGATE.address, url_suffixes=["2n6.me", *suffixes])
    room = 65536 - len(advert().to_text().encode())
    offers = [{**OFFER, "aliases": [f"{number:04}-{'x' * 100}" for number in range(room // 108 - 2)]}]
    return sign_advert(advert(offers=offers), DELEGATE, NODE, given)


def tombstone(**changes: Any) -> Envelope:
    """By the operator's own wallet, without a node signature."""
    return sign_advert(advert(**{"offers": [], **changes}), OPERATOR, None, None)


def revocation(*delegates: str, seq: int = NOW * 1000, signer: Wallet = OPERATOR) -> Envelope:
    return sign_revocation(Revocation(operator=signer.address, seq=seq, delegates=delegates), signer)


def curation(signer: Wallet = CURATOR, **changes: Any) -> Envelope:
    """An empty list of a month but for what is given."""
    fields: dict[str, Any] = {
        "curator": signer.address,
        "seq": NOW * 1000,
        "issued_at": NOW,
        "expires_at": NOW + 30 * DAY,
        "operators": [],
        "nodes": [],
        "models": {},
        "slugs": {},
    }
    return sign_curation(Curation(**{**fields, **changes}), signer)


def raw(offer_changes: dict[str, Any] | None = None, /, **changes: Any) -> dict[str, Any]:
    """The fields of a valid advert as plain JSON values, to be bent and signed by `forged`."""
    fields = {"v": 1, **advert().model_dump(mode="json", exclude={"vm", "hardware", "region"})}
    fields["offers"] = [{**OFFER, **(offer_changes or {})}]
    return {**fields, **changes}


def forged(text: str, signer: Wallet = OPERATOR, node: NodeKey = NODE) -> Envelope:
    """An advert envelope with good signatures over any text at all."""
    signed = f"{TAG_ADVERT}\n{hashlib.sha256(text.encode()).hexdigest()}".encode()
    return Envelope(Kind.ADVERT, text, signer.sign(TAG_ADVERT, text), node.sign(signed))
