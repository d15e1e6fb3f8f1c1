"""`GET /v1/models`: OpenAI's fields, with ours beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from gateway.groups import Candidate
from registry.advert import Offer

_LONGEST_WAY = 64
_REST = 10  # times as long as making a list took, it is shown

Item = dict[str, Any]


class Listing:
    """The last list made of everything: a long one is shown for a while, a short one is made anew each time."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._until = 0.0

    def __repr__(self) -> str:
        return f"<Listing items={len(self._items)}>"

    def items(self, make: Callable[[], list[Item]]) -> list[Item]:
        """The items, by `make` if the last are too old by now."""
        began = time.perf_counter()
        if began >= self._until:
            self._items = make()
            ended = time.perf_counter()
            self._until = ended + _REST * (ended - began)
        return self._items


def describe(name: str, candidates: Iterable[Candidate], now: float) -> Item | None:
    """One item of OpenAI's list, for the candidates that count now; None where there is none."""
    current = [candidate for candidate in candidates if candidate.believed.valid_until > now]
    if not current:
        return None
    offers = [candidate.offer for candidate in current]
    prices = [price.model_dump(include={"unit", "amount"}) for price in offers[0].prices]
    item = {
        "id": name,
        "object": "model",
        "created": min(candidate.believed.advert.issued_at for candidate in current),
        "owned_by": current[0].operator,
        "endpoints": sorted({endpoint for offer in offers for endpoint in offer.endpoints}),
        "aliases": sorted({alias for offer in offers for alias in offer.aliases}),
        "context_length": max((offer.context_length or 0 for offer in offers), default=0) or None,
        "weights_sha256": offers[0].weights_sha256,
        "operators": sorted({candidate.operator for candidate in current}),
        "nodes": len({candidate.node for candidate in current}),
        "warm": len({candidate.node for candidate in current if candidate.offer.warm}),
        "price": prices or None,
    }
    ways = sorted({way for offer in offers if (way := _rerank_by(offer)) is not None})
    return {**item, "rerank_by": ", ".join(ways)} if ways else item


def _rerank_by(offer: Offer) -> str | None:
    """What relevance scores of this offer are, as its node says; a field beyond the protocol's."""
    said = (offer.model_extra or {}).get("rerank_by")
    return said if isinstance(said, str) and 0 < len(said) <= _LONGEST_WAY else None
