"""How large a model is served: context, parallel requests, threads, batch. Pure: metadata and hardware in, numbers out.

Not here: which flags say so (engines).
"""

from __future__ import annotations

from dataclasses import dataclass

from node.gguf import Metadata, Pooling
from node.hardware import Hardware
from node.kind import Kind, pooling_of
from node.model_config import ModelConfig

_CPU_CONTEXT, _GPU_CONTEXT = 8192, 32_768  # tokens per request, if the model and the memory allow as much
_CPU_PARALLEL, _GPU_PARALLEL = 4, 8
_LEAST_CONTEXT = 2048
_UNKNOWN_CONTEXT = 4096
_WHOLE_CONTEXT = 8192  # where a batch must hold an input whole: its attention takes memory by the square
_STEP = 256  # llama.cpp's own
_SHARE = 0.25  # of the memory that weights leave, for the key-value cache: other models want some too
_LEAST_WHOLE_BATCH = 512  # room for several short inputs at once
_CPU_BATCH = 256  # small, since cancellation is seen between batches only; costs a CPU no speed


@dataclass(frozen=True)
class Sizing:
    """`context` is per request. `gpu_layers` and `batch` None leave it to the engine."""

    context: int
    parallel: int
    threads: int
    gpu_layers: int | None
    batch: int | None


def size(wish: ModelConfig, metadata: Metadata, kind: Kind, weights_bytes: int, hardware: Hardware) -> Sizing:
    """What was asked for; where nothing was, what model and hardware allow, never beyond the trained context."""
    on_gpu = hardware.gpu is not None and wish.gpu_layers != 0
    trained = metadata.context_length or _UNKNOWN_CONTEXT
    parallel = wish.parallel or (_GPU_PARALLEL if on_gpu else _CPU_PARALLEL)
    whole = kind is not Kind.CHAT and pooling_of(metadata) is not Pooling.LAST
    usual = min(_GPU_CONTEXT if on_gpu else _CPU_CONTEXT, _WHOLE_CONTEXT if whole else _GPU_CONTEXT)
    context = min(wish.context or usual, trained)
    memory = hardware.vram_mib * 1024 * 1024 if on_gpu else hardware.memory_bytes
    fitting = _fitting(metadata, (memory - weights_bytes) * _SHARE)
    while wish.context is None and context > _LEAST_CONTEXT and context * parallel > fitting:
        context = max(context // 2, _LEAST_CONTEXT)
    while wish.parallel is None and parallel > 1 and context * parallel > fitting:
        parallel //= 2
    context = max(_STEP, context // _STEP * _STEP)
    return Sizing(
        context=context,
        parallel=parallel,
        threads=wish.threads or hardware.threads,
        gpu_layers=None if wish.gpu_layers == "auto" else wish.gpu_layers,
        batch=max(context, _LEAST_WHOLE_BATCH) if whole else None if on_gpu else _CPU_BATCH,
    )


def _fitting(metadata: Metadata, budget_bytes: float) -> float:
    """Tokens of context that fit. An encoder keeps no keys and values."""
    return float("inf") if metadata.is_encoder or not metadata.kv_bytes else budget_bytes / metadata.kv_bytes
