"""From a model's settings to something that can be served: weights opened, its kind known, its engine made.

A further engine is one row of `_OPENERS`. Not here: each engine (engines), and keeping it up (process).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from node.chatml import TemplateError
from node.config import NodeConfig
from node.engines.audio import open_audio
from node.engines.engine import Engine, EngineError
from node.engines.external import Elsewhere, ExternalEngine, read_key
from node.engines.image_opening import ImageOpener
from node.engines.llama_opening import PROXIED, LlamaOpener
from node.kind import Kind, KindError, kind_of, kind_of_files
from node.model_config import ModelConfig
from node.models import Models, Profile, Served
from node.pictures import Pictures
from node.uri import EngineUri, WeightsUri, parse_uri
from node.wanted import Place, Wanted
from node.weights import Weights, WeightsError, open_weights
from relay.answer import Limits
from relay.endpoints import CHAT, COMPLETIONS, PROXY

log = logging.getLogger("waypost.node")

Open = Callable[[Wanted], Awaitable[tuple[Engine, Profile]]]
_EXTERNAL_SLOTS = 64  # such an engine has a queue of its own


async def open_models(config: NodeConfig, place: Place, pictures: Pictures) -> Models:
    """Open each model; one that cannot be served is logged in a line, and the others go on."""
    served: list[Served] = []
    failed: dict[str, str] = {}
    openers = _openers(pictures)
    for number, (name, wish) in enumerate(config.served().items()):
        assert wish.uri is not None
        uri = parse_uri(wish.uri)
        try:
            if isinstance(uri, EngineUri):
                served.append(_elsewhere(name, wish, uri, config, place))
            else:
                served.append(await _open(name, wish, uri, config, place, number, openers))
        except (WeightsError, KindError, TemplateError, EngineError) as error:
            failed[name] = str(error)
            log.error("%s is not served: %s", name, error)
    return Models(tuple(served), failed)


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


async def _open(
    name: str,
    wish: ModelConfig,
    uri: WeightsUri,
    config: NodeConfig,
    place: Place,
    number: int,
    openers: Mapping[Kind, Open],
) -> Served:
    weights = await asyncio.to_thread(open_weights, uri, config.state, [*wish.files.values()], wish.projector)
    kind = _kind(wish, weights)
    engine, profile = await openers[kind](Wanted(name, wish, config, place, number, kind, weights))
    proxied = wish.proxy + (PROXIED if PROXY in kind.endpoints else ())
    return Served(
        name, wish.aliases, _endpoints(kind.endpoints, proxied), profile, _prices(wish, config), proxied, engine
    )


def _kind(wish: ModelConfig, weights: Weights) -> Kind:
    if weights.metadata is None:
        return kind_of_files(wish.kind, weights.path)
    return kind_of(wish.kind, weights.metadata)


def _elsewhere(name: str, wish: ModelConfig, uri: EngineUri, config: NodeConfig, place: Place) -> Served:
    where = Elsewhere(uri.url, wish.upstream_model, None if wish.key_file is None else read_key(wish.key_file))
    limits = Limits(head_s=config.head_s, gap_s=config.gap_s)
    engine = ExternalEngine(name, wish.parallel or _EXTERNAL_SLOTS, where, limits, place.on_change)
    endpoints = _endpoints(wish.endpoints or (CHAT.name, COMPLETIONS.name), wish.proxy)
    log.info("%s: served by the engine at %s: %s", name, uri.url, ", ".join(endpoints))
    profile = Profile(engine="external", context_length=wish.context)
    return Served(name, wish.aliases, endpoints, profile, _prices(wish, config), wish.proxy, engine)


def _endpoints(served: tuple[str, ...], proxied: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*served, *((PROXY,) if proxied else ())}))


def _prices(wish: ModelConfig, config: NodeConfig) -> tuple[tuple[str, str], ...]:
    pairs = (text.partition("=") for text in wish.price or config.price)
    return tuple((unit, amount) for unit, _, amount in pairs)
