"""How large a model is served: context, parallel requests, threads, batch, and what may be remembered of earlier ones.

Pure: metadata and hardware in, numbers out; what was not asked for is made to fit the machine by the same estimate that
the model is held against later. Not here: that estimate (portions), and which flags say so (engines).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.gguf import Metadata, Pooling
from node.hardware import Hardware
from node.kind import Kind, pooling_of
from node.model_config import ModelConfig
from node.sizes.memory import MIB, Memory
from node.sizes.portions import checkpoint_bytes, parts, prompt_cache_mib
from node.sizes.sized import LEAST_WHOLE_BATCH, MOST_CHECKPOINTS, Sizing

__all__ = ("Sizing", "size")

_CPU_CONTEXT, _GPU_CONTEXT = 8192, 32_768  # tokens per request, if the model and the memory allow as much
_CPU_PARALLEL, _GPU_PARALLEL = 4, 8
_LEAST_CONTEXT = 2048
_UNKNOWN_CONTEXT = 4096
_WHOLE_CONTEXT = 8192  # where a batch must hold an input whole: its output takes a vocabulary for each token
_STEP = 256  # llama.cpp's own
_SHARE = 0.25  # of the memory that weights leave, for requests: other models want some too
_CPU_BATCH = 256  # small, since cancellation is seen between batches only; costs a CPU no speed
_REMEMBERED_SHARE = 1 / 16  # of the machine's memory, for what is remembered of earlier prompts
_MOST_REMEMBERED = 8192 * MIB  # llama-server's own
_UNLIMITED_CHECKPOINTS = 32  # llama-server's own
_REPACKED_SHARE = 0.1  # of the weights: from here on, lying in the file as well would waste too much


def size(wish: ModelConfig, metadata: Metadata, kind: Kind, weights_bytes: int, hardware: Hardware) -> Sizing:
    """What was asked for; where nothing was, what model and hardware allow, never beyond the trained context."""
    on_gpu = hardware.gpu is not None and wish.gpu_layers != 0
    asked = _asked(wish, metadata, kind, on_gpu, hardware)
    fitted = _fitted(asked, wish, metadata, weights_bytes, hardware, on_gpu)
    return _remembering(fitted, wish.flags, metadata, kind, hardware.memory_bytes)


def _asked(wish: ModelConfig, metadata: Metadata, kind: Kind, on_gpu: bool, hardware: Hardware) -> Sizing:
    trained = metadata.context_length or _UNKNOWN_CONTEXT
    whole = kind is not Kind.CHAT and pooling_of(metadata) is not Pooling.LAST
    usual = min(_GPU_CONTEXT if on_gpu else _CPU_CONTEXT, _WHOLE_CONTEXT if whole else _GPU_CONTEXT)
    context = _stepped(min(wish.context or usual, trained))
    tensors = metadata.shape.tensors
    return Sizing(
        context=context,
        parallel=wish.parallel or (_GPU_PARALLEL if on_gpu else _CPU_PARALLEL),
        threads=wish.threads or hardware.threads,
        gpu_layers=None if wish.gpu_layers == "auto" else wish.gpu_layers,
        batch=max(context, LEAST_WHOLE_BATCH) if whole else None if on_gpu else _CPU_BATCH,
        whole=whole,
        vectors=kind is not Kind.CHAT,
        mapped=on_gpu or tensors.repacked < tensors.total * _REPACKED_SHARE or not tensors.total,
        flash=(_flag(wish.flags, "--flash-attn", "-fa") or "auto") not in ("off", "0", "false", "disabled"),
    )


def _fitted(
    sizing: Sizing, wish: ModelConfig, metadata: Metadata, weights_bytes: int, hardware: Hardware, on_gpu: bool
) -> Sizing:
    """Shorter requests and then fewer, until they take no more than their share; and what must, fits the machine."""
    there = Memory(hardware.memory_bytes, hardware.vram_mib * MIB if on_gpu else 0)

    def within(tried: Sizing, share: float) -> bool:
        found = parts(metadata, tried, weights_bytes, on_gpu=on_gpu)
        left = there - found["weights"] - found["process"]
        taken = found["context"] + found["computing"] + found["output"]
        return taken.fits(Memory(int(left.ram * share), int(left.vram * share)))

    while wish.context is None and sizing.context > _LEAST_CONTEXT and not within(sizing, _SHARE):
        sizing = sizing.of(max(_stepped(sizing.context // 2), _LEAST_CONTEXT), sizing.parallel)
    while wish.parallel is None and sizing.parallel > 1 and not within(sizing, _SHARE):
        sizing = sizing.of(sizing.context, sizing.parallel // 2)
    while wish.context is None and sizing.context > _STEP and not within(sizing, 1):
        sizing = sizing.of(_stepped(sizing.context // 2), sizing.parallel)
    return sizing


def _remembering(sizing: Sizing, flags: Sequence[str], metadata: Metadata, kind: Kind, memory_bytes: int) -> Sizing:
    """As much again as the slots hold: llama-server would fill 8 GiB, and with checkpoints far more."""
    if kind is not Kind.CHAT:
        return sizing
    most = min(_MOST_REMEMBERED, int(memory_bytes * _REMEMBERED_SHARE))
    a_round = sizing.parallel * checkpoint_bytes(metadata, sizing)
    checkpoints = min(MOST_CHECKPOINTS, max(most // 2 // a_round, int(a_round <= most))) if a_round else 0
    checkpoints = _told(flags, checkpoints, _UNLIMITED_CHECKPOINTS, "--ctx-checkpoints", "--swa-checkpoints", "-ctxcp")
    sizing = replace(sizing, checkpoints=checkpoints)
    cached = min(prompt_cache_mib(metadata, sizing), max(0, most - checkpoints * a_round) // MIB)
    told = _told(flags, cached, _MOST_REMEMBERED // MIB, "--cache-ram", "-cram")
    return replace(sizing, prompt_cache_mib=told)


def _told(flags: Sequence[str], ours: int, unlimited: int, *names: str) -> int:
    """What the operator's own flag says: it is given last, so it counts."""
    value = _flag(flags, *names)
    if value is None or not value.removeprefix("-").isdecimal():
        return ours
    return int(value) if int(value) >= 0 else unlimited


def _flag(flags: Sequence[str], *names: str) -> str | None:
    """The value of the last of these flags."""
    found = None
    for at, flag in enumerate(flags):
        name, joined, value = flag.partition("=")
        if name.replace("_", "-") in names:
            found = value if joined else "".join(flags[at + 1 : at + 2])
    return found


def _stepped(tokens: int) -> int:
    return max(_STEP, tokens // _STEP * _STEP)
