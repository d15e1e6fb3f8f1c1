"""From a GGUF and its settings to a llama-server to be: purpose and size decided, and what an offer says of it.

Not here: each of these (kind, chatml, sizing), and the program itself (llama).
"""

from __future__ import annotations

import logging

from node.chatml import Template, choose
from node.engines.engine import EngineError
from node.engines.llama import Build, LlamaEngine, find_build, find_place
from node.engines.llama_flags import check_flags
from node.engines.llama_rerank import BY_EMBEDDING, BY_MODEL
from node.gguf import Pooling
from node.kind import Kind, pooling_of
from node.models import Profile
from node.once import Once
from node.sizes.footprint import declared, estimate, fitting
from node.sizes.memory import Memory
from node.sizes.sizing import Sizing, size
from node.wanted import Opened, Wanted
from node.weights import Weights

log = logging.getLogger("waypost.node")

PROXIED = ("/tokenize", "/detokenize", "/apply-template")
_RERANK_BY = {Kind.EMBEDDING: BY_EMBEDDING, Kind.RERANK: BY_MODEL}


class LlamaOpener:
    """Opens models on one llama-server build, which is looked for once."""

    def __init__(self) -> None:
        self._build: Once[Build] = Once()

    async def open(self, wanted: Wanted) -> Opened:
        """The engine, not yet running. Raises EngineError or TemplateError."""
        build = await self._build.get(lambda: find_build(wanted.config.llama_server))
        weights, wish = wanted.weights, wanted.wish
        try:
            check_flags(wish.flags)
        except ValueError as error:
            raise EngineError(f"[node.models.{wanted.name}] flags: {error}") from error
        assert weights.metadata is not None
        placement = await find_place(build, wanted.name, wish)
        usable = placement.hardware(wanted.place.hardware)
        sizing = size(wish, weights.metadata, wanted.kind, weights.size_bytes, usable)
        purpose = _purpose(wanted, weights)
        _say(wanted, sizing, purpose)
        engine = LlamaEngine(
            build, wanted.name, weights.path, purpose, sizing, wish.flags, wanted.socket, wanted.process_limits,
            wanted.limits, wanted.place.on_change, projector=wish.projector, workers=wish.rpc,
            placement=placement.flags,
        )  # fmt: skip
        profile = _profile(wanted, build, purpose, sizing)
        return _opened(engine, profile, wanted, sizing, gpus=len(placement.devices))


def _opened(engine: LlamaEngine, profile: Profile, wanted: Wanted, sizing: Sizing, *, gpus: int) -> Opened:
    wish, weights = wanted.wish, wanted.weights
    metadata, on_gpu = weights.metadata, gpus > 0
    assert metadata is not None
    projector = wish.projector.stat().st_size if wish.projector else 0
    estimated = estimate(
        metadata, sizing, weights.size_bytes, on_gpu=on_gpu, projector_bytes=projector, gpus=max(1, gpus)
    )
    need = declared(wish, estimated, on_gpu)
    if not wanted.place.hardware.gpus:
        need = Memory(ram=need.ram)  # of a worker elsewhere, or of a GPU that NVML does not know: nobody here counts it

    def fix(budget: Memory) -> str | None:
        return fitting(metadata, sizing, wish, weights.size_bytes, budget, on_gpu, projector, max(1, gpus))

    return Opened(engine, profile, need, fix)


def _purpose(wanted: Wanted, weights: Weights) -> Template | Pooling:
    assert weights.metadata is not None
    if wanted.kind is Kind.RERANK:
        return Pooling.RANK
    if wanted.kind is Kind.EMBEDDING:
        return pooling_of(weights.metadata)
    return choose(wanted.wish.template, weights.metadata.chat_template)


def _profile(wanted: Wanted, build: Build, purpose: Template | Pooling, sizing: Sizing) -> Profile:
    weights = wanted.weights
    assert weights.metadata is not None
    return Profile(
        engine=build.version,
        weights_sha256=weights.sha256,
        template_sha256=purpose.sha256 if isinstance(purpose, Template) else None,
        quantization=weights.metadata.quantization,
        context_length=sizing.context,
        modalities=("text", "image") if wanted.wish.projector else ("text",),
        resume=wanted.kind is Kind.CHAT,
        rerank_by=_RERANK_BY.get(wanted.kind),
    )


def _say(wanted: Wanted, sizing: Sizing, purpose: Template | Pooling) -> None:
    weights = wanted.weights
    assert weights.metadata is not None
    log.info(
        "%s: %s, %s, %d requests of %d tokens at once, %d threads, %s",
        wanted.name, weights.path, weights.metadata.quantization or "unknown quantization", sizing.parallel,
        sizing.context, sizing.threads, _words(purpose),
    )  # fmt: skip


def _words(purpose: Template | Pooling) -> str:
    if purpose is Pooling.RANK:
        return "ranking"
    if isinstance(purpose, Pooling):
        return f"embeddings with {purpose.name.lower()} pooling"
    return "template of the model" if purpose.own else "template ChatML"
