"""A handful of valid envelopes of every kind, by fixed keys, the same in every process."""

from __future__ import annotations

from registry.advert import Advert, Delegation, Envelope, Offer, Price, Revocation
from registry.keys import NodeKey, Wallet
from registry.signing import sign_advert, sign_delegation, sign_revocation

NOW = 1_795_226_868
OPERATOR = Wallet(b"\x11" * 32)
_DELEGATE = Wallet(b"\x22" * 32)


def envelopes(count: int) -> list[Envelope]:
    """Adverts of so many nodes, each by a delegate, two of them by the operator's wallet too, and a revocation."""
    nodes = [NodeKey((number + 1).to_bytes(32)) for number in range(count - 3)]
    adverts = [_delegated(node, NOW * 1000) for node in nodes]
    own = [sign_advert(_advert(node, NOW * 1000 + 1), OPERATOR, node, None) for node in nodes[:2]]
    revocation = Revocation(operator=OPERATOR.address, seq=NOW * 1000, delegates=("0x" + "ab" * 20,))
    return [*adverts, *own, sign_revocation(revocation, OPERATOR)]


def _delegated(node: NodeKey, seq: int) -> Envelope:
    delegation = Delegation(
        operator=OPERATOR.address, delegate=_DELEGATE.address, node=node.public, issued_at=NOW, expires_at=NOW + 86_400,
        url_suffixes=None,
    )  # fmt: skip
    return sign_advert(_advert(node, seq), _DELEGATE, node, sign_delegation(delegation, OPERATOR))


def _advert(node: NodeKey, seq: int) -> Advert:
    offer = Offer(
        model="smollm2", aliases=("smol",), endpoints=("chat.completions",), weights_sha256="ab" * 32,
        template_sha256=None, quantization="Q4_1", context_length=8192, parallel=4, modalities=("text",),
        engine="llama.cpp/0.3.36", resume=True, warm=True, prices=(Price(unit="usd/1M prompt tokens", amount="0.05"),),
    )  # fmt: skip
    return Advert(
        operator=OPERATOR.address, node=node.public, seq=seq, issued_at=NOW, expires_at=NOW + 3600,
        url="https://w1-w2-w3-w4.2n6.me", tls_spki_sha256="cd" * 32, offers=(offer,),
    )  # fmt: skip
