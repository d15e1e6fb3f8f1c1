"""How large a model is served: context, parallel requests, threads, batch. Pure: metadata and hardware in, numbers out.

Not here: which flags say so (engines).
"""

from __future__ import annotations

from dataclasses import dataclass

from node.config import ModelConfig
from node.gguf import Metadata
from node.hardware import Hardware

_CPU_CONTEXT, _GPU_CONTEXT = 8192, 32_768  # tokens per request, if the model and the memory allow as much
_CPU_PARALLEL, _GPU_PARALLEL = 4, 8
_LEAST_CONTEXT = 2048
_UNKNOWN_CONTEXT = 4096
_STEP = 256  # llama.cpp's own
_SHARE = 0.25  # of the memory that weights leave, for the key-value cache: other models want some too
_CPU_BATCH = 256  # small, since cancellation is seen between batches only; costs a CPU no speed


@dataclass(frozen=True)
class Sizing:
    """`context` is per request. `gpu_layers` and `batch` None leave it to the engine."""

    context: int
    parallel: int
    threads: int
    gpu_layers: int | None
    batch: int | None


def size(wish: ModelConfig, metadata: Metadata, weights_bytes: int, hardware: Hardware) -> Sizing:
    """What was asked for; where nothing was, what model and hardware allow, never beyond the trained context."""
    on_gpu = hardware.gpu is not None and wish.gpu_layers != 0
    trained = metadata.context_length or _UNKNOWN_CONTEXT
    parallel = wish.parallel or (_GPU_PARALLEL if on_gpu else _CPU_PARALLEL)
    context = min(wish.context or (_GPU_CONTEXT if on_gpu else _CPU_CONTEXT), trained)
    memory = hardware.vram_mib * 1024 * 1024 if on_gpu else hardware.memory_bytes
    fitting = _fitting(metadata, (memory - weights_bytes) * _SHARE)
    while wish.context is None and context > _LEAST_CONTEXT and context * parallel > fitting:
        context = max(context // 2, _LEAST_CONTEXT)
    while wish.parallel is None and parallel > 1 and context * parallel > fitting:
        parallel //= 2
    return Sizing(
        context=max(_STEP, context // _STEP * _STEP),
        parallel=parallel,
        threads=wish.threads or hardware.threads,
        gpu_layers=None if wish.gpu_layers == "auto" else wish.gpu_layers,
        batch=None if on_gpu else _CPU_BATCH,
    )


def _fitting(metadata: Metadata, budget_bytes: float) -> float:
    """Tokens of context that fit."""
    return budget_bytes / metadata.kv_bytes if metadata.kv_bytes else float("inf")
