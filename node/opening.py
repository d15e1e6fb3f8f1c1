"""From a model's settings to something that can be served: weights opened, its kind known, its engine made.

A further engine is one row of `_OPENERS`. Not here: each engine (engines), and keeping it up (process).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from threading import Event

from node.config import NodeConfig
from node.engines.audio import open_audio
from node.engines.external import Elsewhere, ExternalEngine, read_key
from node.engines.image_opening import ImageOpener
from node.engines.llama_opening import PROXIED, LlamaOpener
from node.kind import Kind, kind_of, kind_of_files
from node.model_config import ModelConfig
from node.models import Profile, Served
from node.pictures import Pictures
from node.residents.tenant import Tenant
from node.uri import EngineUri, WeightsUri
from node.wanted import Opened, Place, Wanted
from node.weights import Weights, open_weights
from relay.endpoints import CHAT, COMPLETIONS, PROXY
from relay.limits import Limits

log = logging.getLogger("waypost.node")

Open = Callable[[Wanted], Awaitable[Opened]]
_EXTERNAL_SLOTS = 64  # such an engine has a queue of its own


@dataclass(frozen=True)
class Opening:
    """A model whose engine is made and does not run yet, and what will be said of it."""

    opened: Opened
    kind: Kind | None  # None at an external engine
    weights_bytes: int
    endpoints: tuple[str, ...]
    proxied: tuple[str, ...]

    def served(self, name: str, wish: ModelConfig, config: NodeConfig, tenant: Tenant) -> Served:
        """As it is served, now that its engine is kept up."""
        return Served(
            name, wish.aliases, self.endpoints, self.opened.profile, prices(wish, config), self.proxied, tenant
        )


class Opener:
    """Opens models of this node, one after the other or at once."""

    def __init__(self, place: Place, pictures: Pictures) -> None:
        self._place = place
        self._openers = _openers(pictures)
        self._numbers = itertools.count()

    async def open(self, name: str, wish: ModelConfig, config: NodeConfig, uri: WeightsUri | EngineUri) -> Opening:
        """Check the weights, and make the engine. Raises WeightsError, KindError, TemplateError or EngineError."""
        if isinstance(uri, EngineUri):
            return _elsewhere(name, wish, uri, config, self._place)
        weights = await _weights(uri, wish, config)
        kind = _kind(wish, weights)
        wanted = Wanted(name, wish, config, self._place, next(self._numbers), kind, weights)
        opened = await self._openers[kind](wanted)
        proxied = wish.proxy + (PROXIED if PROXY in kind.endpoints else ())
        return Opening(opened, kind, weights.size_bytes, _endpoints(kind.endpoints, proxied), proxied)


async def _weights(uri: WeightsUri, wish: ModelConfig, config: NodeConfig) -> Weights:
    """In a thread, which ends soon after who waits for it is cancelled: it may read for an hour."""
    stopped = Event()
    try:
        beside = [*wish.files.values()]
        return await asyncio.to_thread(open_weights, uri, config.state, beside, wish.projector, stopped.is_set)
    finally:
        stopped.set()


def _openers(pictures: Pictures) -> Mapping[Kind, Open]:
    llama = LlamaOpener().open
    return {
        Kind.CHAT: llama,
        Kind.EMBEDDING: llama,
        Kind.RERANK: llama,
        Kind.IMAGE: ImageOpener(pictures).open,
        Kind.SPEECH: open_audio,
        Kind.TRANSCRIPTION: open_audio,
    }


def _kind(wish: ModelConfig, weights: Weights) -> Kind:
    if weights.metadata is None:
        return kind_of_files(wish.kind, weights.path)
    return kind_of(wish.kind, weights.metadata)


def _elsewhere(name: str, wish: ModelConfig, uri: EngineUri, config: NodeConfig, place: Place) -> Opening:
    where = Elsewhere(uri.url, wish.upstream_model, None if wish.key_file is None else read_key(wish.key_file))
    limits = Limits(head_s=config.head_s, gap_s=config.gap_s)
    engine = ExternalEngine(name, wish.parallel or _EXTERNAL_SLOTS, where, limits, place.on_change)
    endpoints = _endpoints(wish.endpoints or (CHAT.name, COMPLETIONS.name), wish.proxy)
    log.info("%s: served by the engine at %s: %s", name, uri.url, ", ".join(endpoints))
    profile = Profile(engine="external", context_length=wish.context)
    return Opening(Opened(engine, profile), None, 0, endpoints, wish.proxy)


def _endpoints(served: tuple[str, ...], proxied: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*served, *((PROXY,) if proxied else ())}))


def prices(wish: ModelConfig, config: NodeConfig) -> tuple[tuple[str, str], ...]:
    """The model's own, else the node's, as (unit, amount)."""
    pairs = (text.partition("=") for text in wish.price or config.price)
    return tuple((unit, amount) for unit, _, amount in pairs)
