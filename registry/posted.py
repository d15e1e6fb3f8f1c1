"""What a posted text says it is, before anybody has checked its signatures: for tidying, which proves nothing.

Not here: what may be believed (signing).
"""

from __future__ import annotations

from registry.advert import Advert, Envelope, Kind, Refused

__all__ = ["read_advert"]


def read_advert(text: str) -> tuple[Envelope, Advert] | None:
    """The envelope and the advert in it, unverified; None for whatever is no advert."""
    try:
        envelope = Envelope.parse(text)
        return (envelope, Advert.read(envelope.text)) if envelope.kind is Kind.ADVERT else None
    except Refused:
        return None
