"""A model in a real llama-server, started as a node starts it, and filled to the brim: what it takes of memory.

Prompts are random words, since what they say does not matter to memory; each round's are new ones, so that what was
remembered of the round before has to be kept elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.chatml import choose
from node.engines.llama import LlamaEngine, find_build
from node.gguf import Metadata
from node.hardware import Hardware, detect
from node.kind import Kind, kind_of, pooling_of
from node.model_config import ModelConfig
from node.process import ProcessLimits
from node.sizes.footprint import estimate
from node.sizes.measuring import taken
from node.sizes.memory import Memory
from node.sizes.sizing import Sizing, size
from node.uri import WeightsUri
from node.weights import open_weights
from relay.limits import Limits

_START_S = 120.0
_BRIM = 0.96  # of the context; a few words are answered
_FIRST_WORD, _WORDS = 1000, 20_000
_ANSWERED = 8


@dataclass(frozen=True)
class Filled:
    """What was expected, what it took when it was loaded, and when it had been filled."""

    sizing: Sizing
    weights_bytes: int
    estimated: Memory
    loaded: Memory
    full: Memory

    def error(self, found: Memory) -> float:
        """Of the estimate: 0.1 where it was a tenth too high."""
        return self.estimated.ram / found.ram - 1

    def __str__(self) -> str:
        loaded, full = self.error(self.loaded), self.error(self.full)
        return f"estimated {self.estimated}; loaded {self.loaded} ({loaded:+.0%}), full {self.full} ({full:+.0%})"


async def fill(
    weights: Path, wish: ModelConfig, folder: Path, *, rounds: int = 2, picture: str | None = None,
    hardware: Hardware | None = None,
) -> Filled:  # fmt: skip
    """`picture` is a data URL that a model which sees is shown first."""
    build = await find_build(None)
    opened = await asyncio.to_thread(open_weights, WeightsUri(weights), folder, (), wish.projector)
    assert opened.metadata is not None
    kind = kind_of(wish.kind, opened.metadata)
    sizing = size(wish, opened.metadata, kind, opened.size_bytes, hardware or await detect())
    projector = wish.projector.stat().st_size if wish.projector else 0
    expected = estimate(opened.metadata, sizing, opened.size_bytes, on_gpu=build.gpu, projector_bytes=projector)
    purpose = choose(wish.template, opened.metadata.chat_template) if kind is Kind.CHAT else pooling_of(opened.metadata)
    engine = LlamaEngine(
        build, "m", weights, purpose, sizing, wish.flags, folder / "filled.sock", ProcessLimits(start_s=_START_S),
        Limits(), projector=wish.projector,
    )  # fmt: skip
    running = asyncio.create_task(engine.run())
    try:
        await asyncio.wait_for(engine.life.ready(), _START_S)
        loaded = _taken(engine)
        if picture:
            await _ask(engine, "v1/chat/completions", _shown(picture))
        for number in range(rounds):
            asked = (_filling(kind, opened.metadata, sizing, number, slot) for slot in range(sizing.parallel))
            await asyncio.gather(*(_ask(engine, *call) for call in asked))
        return Filled(sizing, opened.size_bytes, expected, loaded, _taken(engine))
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _taken(engine: LlamaEngine) -> Memory:
    pid = engine.life.pid
    assert pid is not None
    return taken(pid)


def _filling(kind: Kind, metadata: Metadata, sizing: Sizing, number: int, slot: int) -> tuple[str, Mapping[str, Any]]:
    chosen = random.Random(1000 * number + slot)
    count = int(sizing.context * _BRIM) - _ANSWERED
    most = min(_WORDS, (metadata.shape.vocabulary or _WORDS) - _FIRST_WORD)
    words = [_FIRST_WORD + chosen.randrange(most) for _ in range(count)]
    if kind is Kind.CHAT:
        return "completion", {"prompt": words, "n_predict": _ANSWERED, "ignore_eos": True}
    return "v1/embeddings", {"input": [words]}


def _shown(picture: str) -> Mapping[str, Any]:
    content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "What is this?"}]
    return {"messages": [{"role": "user", "content": content}], "max_tokens": _ANSWERED}


async def _ask(engine: LlamaEngine, path: str, body: Mapping[str, Any]) -> None:
    door = engine.door
    async with door.session.post(f"{door.url}/{path}", json=body) as response:
        said = await response.read()
        assert response.status == 200, said[:400]
