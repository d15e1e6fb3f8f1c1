"""What this node serves, and which of it a name means.

Not here: opening models (opening), their engines (engines), who gets a slot (pool).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from node.engines.engine import Engine
from node.proving.proof import Proof
from node.residents.tenant import Tenant
from node.sizes.memory import Memory
from node.store.progress import Progress
from relay.endpoints import Endpoint
from relay.errors import NotFound, Unavailable, unsupported

_LEAST_PREFIX = 8
_RETRY_S, _LONGEST_RETRY_S = 2, 600
MOST_LOOKUPS = 8  # of a model that is replaced while it is asked for
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
    tenant: Tenant

    @property
    def engine(self) -> Engine:
        return self.tenant.engine

    @property
    def ready(self) -> bool:
        """It answers at once."""
        return self.tenant.warm

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
            "warm": int(self.ready),
            "price": [{"unit": unit, "amount": amount} for unit, amount in self.prices],
        }
        return item if self.profile.rerank_by is None else {**item, "rerank_by": self.profile.rerank_by}


class Phase(Enum):
    """How far a model has come. From PROVING on it can be called, and only SERVED is advertised."""

    DOWNLOADING = "downloading"
    OPENING = "opening"
    PROVING = "proving"
    SERVED = "served"
    FAILED = "failed"


@dataclass
class Entry:
    """One configured model. Changed by its owners alone (arrival, offering)."""

    name: str
    kept: bool = True  # in memory from the start on
    phase: Phase = Phase.OPENING
    progress: Progress | None = None  # of its download
    served: Served | None = None
    need: Memory | None = None  # estimated
    proof: Proof | None = None
    why: str | None = None  # it FAILED; for people at this machine

    @property
    def failure(self) -> str | None:
        """Why it is not served, if it never will be."""
        return self.why or (self.served.failure if self.served else None)


class Models:
    """All configured models by name. `on_change` is called by `changed`, which its owner calls."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._entries: dict[str, Entry] = {}
        self._on_change = on_change
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Models {' '.join(f'{entry.name}={entry.phase.value}' for entry in self._entries.values())}>"

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    @property
    def served(self) -> tuple[Served, ...]:
        """Those that can be called."""
        return tuple(entry.served for entry in self._entries.values() if entry.served and entry.failure is None)

    @property
    def offered(self) -> tuple[Served, ...]:
        """Those that have shown that they work."""
        proven = (entry for entry in self._entries.values() if entry.phase is Phase.SERVED and entry.failure is None)
        return tuple(entry.served for entry in proven if entry.served)

    @property
    def failed(self) -> dict[str, str]:
        return {entry.name: entry.failure for entry in self._entries.values() if entry.failure is not None}

    def entry(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def put(self, entry: Entry) -> None:
        """A model that is new, or in another's place."""
        self._entries[entry.name] = entry
        self.changed()

    def drop(self, name: str) -> None:
        self._entries.pop(name, None)
        self.changed()

    def changed(self) -> None:
        """An entry is another now."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._on_change()

    async def change(self) -> None:
        """Return at the next change."""
        await self._changed.wait()

    def resolve(self, wanted: str) -> Served:
        """A name, an alias, or either with `@` and at least 8 hex digits of the weights' digest.

        Raises NotFound, or Unavailable for a model that is configured here but cannot be called.
        """
        name, at, digest = wanted.partition("@")
        entry = self._entries.get(name) or self._by_alias(name)
        if entry is not None and (entry.failure is not None or entry.served is None):
            raise _not_callable(name, entry)
        served = entry.served if entry is not None else None
        if served is not None and (not at or _is_prefix(digest, served.profile.weights_sha256)):
            return served
        raise NotFound(f"The model {wanted!r} does not exist here.", param="model", code="model_not_found")

    def _by_alias(self, alias: str) -> Entry | None:
        entries = (entry for entry in self._entries.values() if entry.served and alias in entry.served.aliases)
        return next(entries, None)


def _not_callable(name: str, entry: Entry) -> Unavailable:
    if entry.failure is not None:
        return Unavailable(f"The model {name!r} could not be loaded here.", param="model", code="model_not_loaded")
    wait_s = entry.progress.remaining_s if entry.progress else None
    return Unavailable(
        f"The model {name!r} is {entry.phase.value} here.", param="model", code="model_not_ready",
        retry_after_s=max(_RETRY_S, min(round(wait_s or 0), _LONGEST_RETRY_S)),
    )  # fmt: skip


def being_replaced(name: str) -> Unavailable:
    """For who looked it up again and again, and found each gone."""
    return Unavailable(f"The model {name!r} is being replaced here.", code="model_not_ready", retry_after_s=_RETRY_S)


def _is_prefix(digest: str, of: str | None) -> bool:
    return of is not None and len(digest) >= _LEAST_PREFIX and _HEX.issuperset(digest) and of.startswith(digest)
