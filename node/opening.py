"""From a model's settings to something that can be served: weights opened, template chosen, size decided.

Not here: each of these (weights, chatml, sizing), and keeping the engine up (process).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.chatml import Template, TemplateError, choose
from node.config import ModelConfig, NodeConfig
from node.engines.llama import Build, LlamaEngine
from node.gguf import Metadata, Pooling
from node.hardware import Hardware
from node.kind import Kind, KindError, kind_of, pooling_of
from node.models import Models, Served
from node.process import ProcessLimits
from node.sizing import size
from node.uri import WeightsUri
from node.weights import WeightsError, open_weights
from relay.stream import Limits

log = logging.getLogger("waypost.node")


@dataclass(frozen=True)
class Place:
    """Where models are served: the build of the engine, the hardware it sees, a private folder."""

    build: Build
    hardware: Hardware
    runtime: Path
    on_change: Callable[[], None]


async def open_models(config: NodeConfig, place: Place) -> Models:
    """Open each model; one that cannot be served is logged in a line, and the others go on."""
    served: list[Served] = []
    failed: dict[str, str] = {}
    for index, (name, wish) in enumerate(config.served().items()):
        try:
            served.append(await _open(name, wish, config, place, index))
        except (WeightsError, KindError, TemplateError) as error:
            failed[name] = str(error)
            log.error("%s is not served: %s", name, error)
    return Models(tuple(served), failed)


async def _open(name: str, wish: ModelConfig, config: NodeConfig, place: Place, index: int) -> Served:
    assert wish.uri is not None
    weights = await asyncio.to_thread(open_weights, WeightsUri.parse(wish.uri), config.state)
    kind = kind_of(wish.kind, weights.metadata)
    purpose = _purpose(wish, kind, weights.metadata)
    sizing = size(wish, weights.metadata, kind, weights.size_bytes, place.hardware)
    prices = tuple(_price(text) for text in wish.price or config.price)
    engine = LlamaEngine(
        place.build, name, weights.path, purpose, sizing, wish.flags, place.runtime / f"{index}.sock",
        ProcessLimits(start_s=wish.start_s or config.start_s), Limits(head_s=config.head_s, gap_s=config.gap_s),
        place.on_change,
    )  # fmt: skip
    log.info(
        "%s: %s, %s, %d requests of %d tokens at once, %d threads, %s",
        name, weights.path, weights.metadata.quantization or "unknown quantization", sizing.parallel, sizing.context,
        sizing.threads, _words(purpose),
    )  # fmt: skip
    template = purpose if isinstance(purpose, Template) else None
    return Served(name, wish.aliases, weights, kind, template, sizing, prices, engine, place.build.version)


def _purpose(wish: ModelConfig, kind: Kind, metadata: Metadata) -> Template | Pooling:
    if kind is Kind.EMBEDDING:
        return pooling_of(metadata)
    return choose(wish.template, metadata.chat_template)


def _words(purpose: Template | Pooling) -> str:
    if isinstance(purpose, Pooling):
        return f"embeddings with {purpose.name.lower()} pooling"
    return "template of the model" if purpose.own else "template ChatML"


def _price(text: str) -> tuple[str, str]:
    unit, _, amount = text.partition("=")
    return unit, amount
