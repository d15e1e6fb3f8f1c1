"""What this node serves, and which of it a name means.

Not here: opening models (opening), their engines (engines), who gets a slot (pool).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node.chatml import Template
from node.engines.llama import LlamaEngine
from node.kind import Kind
from node.process import State
from node.sizing import Sizing
from node.weights import Weights
from relay.call import Endpoint
from relay.errors import NotFound, Unavailable, unsupported

_LEAST_PREFIX = 8
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Served:
    """One model with all that an offer says of it. `prices` are (unit, amount)."""

    name: str
    aliases: tuple[str, ...]
    weights: Weights
    kind: Kind
    template: Template | None  # of a model that chats
    sizing: Sizing
    prices: tuple[tuple[str, str], ...]
    engine: LlamaEngine
    engine_version: str

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self.kind.endpoints

    @property
    def ready(self) -> bool:
        return self.engine.process.state is State.READY

    @property
    def failure(self) -> str | None:
        """Why its engine was given up, if it was."""
        return self.engine.process.failure

    def require(self, endpoint: Endpoint) -> None:
        """Raises BadRequest if this is not among its endpoints."""
        if endpoint.name not in self.endpoints:
            raise unsupported(self.name, endpoint.name, self.endpoints)

    def item(self, created: int, operator: str | None) -> dict[str, Any]:
        """As `GET /v1/models` lists it."""
        return {
            "id": self.name,
            "object": "model",
            "created": created,
            "owned_by": operator or "waypost",
            "endpoints": list(self.endpoints),
            "aliases": list(self.aliases),
            "context_length": self.sizing.context,
            "weights_sha256": self.weights.sha256,
            "operators": [operator] if operator else [],
            "nodes": 1,
            "price": [{"unit": unit, "amount": amount} for unit, amount in self.prices],
        }


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
        if model is not None and (not at or _is_prefix(digest, model.weights.sha256)):
            return model
        raise NotFound(f"The model {wanted!r} does not exist here.", param="model", code="model_not_found")


def _is_prefix(digest: str, of: str) -> bool:
    return len(digest) >= _LEAST_PREFIX and _HEX.issuperset(digest) and of.startswith(digest)
