"""What this node serves, and which of it a name means.

Not here: opening models (opening), their engines (engines), who gets a slot (pool).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node.engines.engine import Engine
from node.life import State
from relay.endpoints import Endpoint
from relay.errors import NotFound, Unavailable, unsupported

_LEAST_PREFIX = 8
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Profile:
    """What an offer says of a model beside its names. `rerank_by`: what its relevance scores are."""

    engine: str
    weights_sha256: str | None = None
    template_sha256: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    modalities: tuple[str, ...] = ("text",)
    resume: bool = False
    rerank_by: str | None = None


@dataclass(frozen=True)
class Served:
    """One model that is served. `prices` are (unit, amount), `proxied` the paths of its engine that the proxy opens."""

    name: str
    aliases: tuple[str, ...]
    endpoints: tuple[str, ...]
    profile: Profile
    prices: tuple[tuple[str, str], ...]
    proxied: tuple[str, ...]
    engine: Engine

    @property
    def ready(self) -> bool:
        return self.engine.life.state is State.READY

    @property
    def failure(self) -> str | None:
        """Why its engine was given up, if it was."""
        return self.engine.life.failure

    def require(self, endpoint: Endpoint) -> None:
        """Raises BadRequest if this is not among its endpoints."""
        if endpoint.name not in self.endpoints:
            raise unsupported(self.name, endpoint.name, self.endpoints)

    def item(self, created: int, operator: str | None) -> dict[str, Any]:
        """As `GET /v1/models` lists it."""
        item = {
            "id": self.name,
            "object": "model",
            "created": created,
            "owned_by": operator or "waypost",
            "endpoints": list(self.endpoints),
            "aliases": list(self.aliases),
            "context_length": self.profile.context_length,
            "weights_sha256": self.profile.weights_sha256,
            "operators": [operator] if operator else [],
            "nodes": 1,
            "price": [{"unit": unit, "amount": amount} for unit, amount in self.prices],
        }
        return item if self.profile.rerank_by is None else {**item, "rerank_by": self.profile.rerank_by}


class Models:
    """Served models by name, and `failed` ones: name -> why, for people at this machine."""

    def __init__(self, served: tuple[Served, ...], failed: Mapping[str, str]) -> None:
        self._opened = served
        self._not_opened = dict(failed)
        self._by_name = {model.name: model for model in served}
        self._by_alias = {alias: model for model in served for alias in model.aliases}

    @property
    def served(self) -> tuple[Served, ...]:
        return tuple(model for model in self._opened if model.failure is None)

    @property
    def failed(self) -> dict[str, str]:
        return self._not_opened | {model.name: model.failure for model in self._opened if model.failure is not None}

    def resolve(self, wanted: str) -> Served:
        """A name, an alias, or either with `@` and at least 8 hex digits of the weights' digest.

        Raises NotFound, or Unavailable for a model that is named here but could not be loaded.
        """
        name, at, digest = wanted.partition("@")
        model = self._by_name.get(name) or self._by_alias.get(name)
        if name in self._not_opened or (model is not None and model.failure is not None):
            raise Unavailable(f"The model {name!r} could not be loaded here.", param="model", code="model_not_loaded")
        if model is not None and (not at or _is_prefix(digest, model.profile.weights_sha256)):
            return model
        raise NotFound(f"The model {wanted!r} does not exist here.", param="model", code="model_not_found")


def _is_prefix(digest: str, of: str | None) -> bool:
    return of is not None and len(digest) >= _LEAST_PREFIX and _HEX.issuperset(digest) and of.startswith(digest)
