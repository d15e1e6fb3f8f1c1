"""Which TLS key a node is held to: the one that its advert names, or what the web's authorities say of it."""

from __future__ import annotations

from functools import lru_cache

from relay.tls import SpkiPin, spki_sha256

__all__ = ["SpkiPin", "spki_sha256", "verification"]


@lru_cache(maxsize=4096)  # one object a key: pooled connections are told apart by it
def verification(spki: str | None) -> SpkiPin | bool:
    """How to check the TLS key of a node whose advert names `spki` (hex), or names none: by the web's authorities."""
    return SpkiPin(bytes.fromhex(spki)) if spki else True
