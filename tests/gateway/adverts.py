"""Adverts as a reader would believe them, made by hand: directory and balance ask neither signatures nor clocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.balance import Balance
from registry.advert import Advert, Envelope, Kind, Offer
from registry.fields import encode_base64url
from registry.trust import Believed, Curation

NOW = 1_800_000_000.0
NOBODY = Curation({}, {}, frozenset(), frozenset())


def address(name: str) -> str:
    """An operator's address; the same name gives the same one."""
    return "0x" + hashlib.sha256(name.encode()).hexdigest()[:40]


def node_key(name: str) -> str:
    """A node's public key (base64url)."""
    return encode_base64url(hashlib.sha256(b"node " + name.encode()).digest())


def digest(start: str) -> str:
    """A weights digest that begins with these hex digits."""
    return start.ljust(64, "0")


def offer(model: str, weights: str | None = None, **changes: Any) -> Offer:
    """An offer of a chat model; `weights` is the start of its digest."""
    fields: dict[str, Any] = {
        "model": model,
        "aliases": [],
        "endpoints": ["chat.completions"],
        "weights_sha256": None if weights is None else digest(weights),
        "template_sha256": None,
        "quantization": "Q4_1",
        "context_length": 4096,
        "parallel": 2,
        "modalities": ["text"],
        "engine": "llama.cpp/1",
        "resume": False,
        "warm": True,
        "prices": [],
    }
    return Offer(**{**fields, **changes})


def believed(operator: str, node: str, *offers: Offer, explicit: bool = False, until: float = NOW + 600) -> Believed:
    """What trust would say of an advert of `offers`."""
    advert = Advert(
        operator=address(operator),
        node=node_key(node),
        seq=int(NOW * 1000),
        issued_at=int(NOW) - 60,
        expires_at=int(until),
        url=f"https://{node}.example",
        tls_spki_sha256=None,
        offers=offers,
    )
    return Believed(advert, Envelope(Kind.ADVERT, "", ""), until, explicit)


def curation(models: dict[str, str] | None = None, slugs: dict[str, str] | None = None) -> Curation:
    """What the curators say together."""
    return Curation(models or {}, slugs or {}, frozenset(), frozenset())


@contextmanager
def carrying(balance: Balance, node: str, model: str) -> Iterator[None]:
    """One request for this model is in flight to this node for as long as the context lasts."""
    balance.begin(node, model)
    try:
        yield
    finally:
        balance.end(node, model)
