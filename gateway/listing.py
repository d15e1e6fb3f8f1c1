"""`GET /v1/models`: what the directory holds, as OpenAI's list with our fields beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.directory import Directory
from gateway.groups import Candidate


def models(directory: Directory, now: float) -> list[dict[str, Any]]:
    """The plain name where it means one thing, else every `model@digest`."""
    items = (describe(name, group.candidates, now) for name, group in directory.meanings())
    return [item for item in items if item is not None]


def models_at(directory: Directory, vm: str, now: float) -> list[dict[str, Any]]:
    """The models behind one `/vm/{id}`. Raises ApiError 404 or 503."""
    by_name: dict[str, list[Candidate]] = {}
    for candidate in directory.offered_at(vm, now):
        by_name.setdefault(candidate.offer.model, []).append(candidate)
    items = (describe(name, candidates, now) for name, candidates in by_name.items())
    return [item for item in items if item is not None]


def describe(name: str, candidates: Sequence[Candidate], now: float) -> dict[str, Any] | None:
    """One item of OpenAI's list, for the candidates that count now; None where there is none."""
    current = [candidate for candidate in candidates if candidate.believed.valid_until > now]
    if not current:
        return None
    offers = [candidate.offer for candidate in current]
    prices = [price.model_dump(include={"unit", "amount"}) for price in offers[0].prices]
    return {
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
        "price": prices or None,
    }
