"""Sign the four texts, and open what others signed: content comes out only when its signatures hold.

Authenticity alone, without a clock: whether an authentic text counts now is for trust to say.
Not here: key files and curves (keys), expiry, floors and policy (trust).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from registry.advert import Advert, Curation, Delegation, Envelope, Kind, Reason, Refused, Revocation
from registry.keys import NodeKey, Wallet, recover, signed_bytes, verify_node
from registry.urls import in_suffixes, parse_url

__all__ = [
    "TAG_ADVERT",
    "TAG_CURATION",
    "TAG_DELEGATION",
    "TAG_REVOCATION",
    "Opened",
    "challenge_message",
    "next_seq",
    "open_delegation",
    "open_envelope",
    "open_signed",
    "sign_advert",
    "sign_curation",
    "sign_delegation",
    "sign_revocation",
]

TAG_ADVERT = "waypost advert v1"
TAG_DELEGATION = "waypost delegation v1"
TAG_REVOCATION = "waypost revocation v1"
TAG_CURATION = "waypost curation v1"
_TAG_CHALLENGE = "waypost challenge v1"
_REMEMBERED_CHARS = 2048  # longer delegations are opened each time


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Opened:
    """An authentic text with who signed it; `delegation` is set if that was a delegate."""

    content: Advert | Revocation | Curation
    envelope: Envelope
    signer: str
    delegation: Delegation | None = None


def sign_advert(advert: Advert, signer: Wallet, node: NodeKey | None, delegation: Mapping[str, str] | None) -> Envelope:
    """Sign as the operator (`delegation` None) or as its delegate; `node` may be None for an operator's tombstone."""
    text = advert.to_text()
    node_signature = None if node is None else node.sign(signed_bytes(TAG_ADVERT, text))
    signature = signer.sign(TAG_ADVERT, text)
    return Envelope(Kind.ADVERT, text, signature, node_signature, None if delegation is None else dict(delegation))


def sign_delegation(delegation: Delegation, operator: Wallet) -> dict[str, str]:
    """{"text", "signature"}, as it stands in a delegation file and in an envelope."""
    text = delegation.to_text()
    return {"text": text, "signature": operator.sign(TAG_DELEGATION, text)}


def sign_revocation(revocation: Revocation, operator: Wallet) -> Envelope:
    text = revocation.to_text()
    return Envelope(Kind.REVOCATION, text, operator.sign(TAG_REVOCATION, text))


def sign_curation(curation: Curation, curator: Wallet) -> Envelope:
    text = curation.to_text()
    return Envelope(Kind.CURATION, text, curator.sign(TAG_CURATION, text))


def next_seq(now_s: float, last: int) -> int:
    """Milliseconds at signing, or the last plus 1 if that is more."""
    return max(int(now_s * 1000), last + 1)


def challenge_message(nonce: str, url: str, tls_spki_sha256: str | None, gateway: str) -> bytes:
    """What a node signs to answer a gateway's challenge."""
    return "\n".join((_TAG_CHALLENGE, nonce, url, tls_spki_sha256 or "-", gateway)).encode()


def open_signed(envelope: Envelope) -> Advert | Revocation | Curation:
    """The content, parsed from the signed text itself, of an authentic envelope; raises Refused."""
    return open_envelope(envelope).content


def open_envelope(envelope: Envelope) -> Opened:
    """As `open_signed`, with the signer and the delegation."""
    if envelope.kind is Kind.ADVERT:
        return _open_advert(envelope)
    if envelope.kind is Kind.REVOCATION:
        revocation = Revocation.read(envelope.text)
        _check_signer(TAG_REVOCATION, envelope.text, envelope.signature, revocation.operator)
        return Opened(revocation, envelope, revocation.operator)
    curation = Curation.read(envelope.text)
    _check_signer(TAG_CURATION, envelope.text, envelope.signature, curation.curator)
    return Opened(curation, envelope, curation.curator)


def open_delegation(signed: Mapping[str, str]) -> Delegation:
    """The delegation in {"text", "signature"}, signed by the operator that it names; raises Refused."""
    text, signature = signed.get("text"), signed.get("signature")
    if not isinstance(text, str) or not isinstance(signature, str):
        raise Refused(Reason.MALFORMED, 'a delegation must be {"text", "signature"}, both strings')
    return _remembered(text, signature) if len(text) <= _REMEMBERED_CHARS else _open_delegation(text, signature)


def _open_delegation(text: str, signature: str) -> Delegation:
    delegation = Delegation.read(text)
    _check_signer(TAG_DELEGATION, text, signature, delegation.operator)
    return delegation


_remembered = lru_cache(maxsize=4096)(_open_delegation)  # one delegation comes with many adverts


def _open_advert(envelope: Envelope) -> Opened:
    advert = Advert.read(envelope.text)
    signer = recover(TAG_ADVERT, envelope.text, envelope.signature)
    delegation = _delegation_of(envelope, advert, signer)
    _check_node(envelope, advert, own=delegation is None)
    if delegation is not None:
        _check_scope(advert, delegation)
    return Opened(advert, envelope, signer, delegation)


def _delegation_of(envelope: Envelope, advert: Advert, signer: str) -> Delegation | None:
    """The delegation by which `signer` may sign `advert`; None if it is the operator itself."""
    if envelope.delegation is None:
        if signer != advert.operator:
            raise Refused(Reason.WRONG_SIGNER, f"signed by {signer}, not by the operator, and without a delegation")
        return None
    try:
        delegation = open_delegation(envelope.delegation)
    except Refused as refused:
        raise Refused(Reason.NO_DELEGATION, f"the delegation does not open ({refused})") from refused
    if delegation.operator != advert.operator:
        raise Refused(Reason.NO_DELEGATION, f"the delegation is by {delegation.operator}, not by the operator")
    if signer != delegation.delegate:
        raise Refused(Reason.WRONG_SIGNER, f"signed by {signer}, not by the delegate")
    return delegation


def _check_node(envelope: Envelope, advert: Advert, own: bool) -> None:
    if envelope.node_signature is None:
        if own and advert.is_tombstone:
            return
        raise Refused(Reason.BAD_NODE_SIGNATURE, "node_signature may be null only for an operator's own tombstone")
    if not verify_node(advert.node, signed_bytes(TAG_ADVERT, envelope.text), envelope.node_signature):
        raise Refused(Reason.BAD_NODE_SIGNATURE, "node_signature is not by the node's key over this text")


def _check_scope(advert: Advert, delegation: Delegation) -> None:
    if delegation.node is not None and delegation.node != advert.node:
        raise Refused(Reason.OUT_OF_SCOPE, "the delegation is for another node")
    suffixes = delegation.url_suffixes
    if suffixes is not None and not in_suffixes(parse_url(advert.url), suffixes):
        raise Refused(Reason.OUT_OF_SCOPE, f"the delegation does not cover {advert.url}")


def _check_signer(tag: str, text: str, signature: str, expected: str) -> None:
    signer = recover(tag, text, signature)
    if signer != expected:
        raise Refused(Reason.WRONG_SIGNER, f"signed by {signer}, not by {expected}")
