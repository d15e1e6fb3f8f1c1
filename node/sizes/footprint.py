"""The memory that a model in llama-server will take, before it is loaded; and which settings would make it fit. Pure.

Not here: what of it is for what (portions), other engines (footprint_other), what was really taken (measuring).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from node.gguf import Metadata
from node.model_config import ModelConfig
from node.sizes.memory import MIB, Memory
from node.sizes.portions import parts, prompt_cache_mib
from node.sizes.sized import MOST_CHECKPOINTS, Sizing

_STEP = 256  # tokens of context
_USEFUL = 512  # less context than this is no advice
_ROUND = 1024

Fits = Callable[[Sizing], bool]


def estimate(
    metadata: Metadata, sizing: Sizing, weights_bytes: int, *, on_gpu: bool, projector_bytes: int = 0, gpus: int = 1
) -> Memory:
    """The most that it takes while it answers. `weights_bytes` are of all files, the projector's with them."""
    found = parts(metadata, sizing, weights_bytes, on_gpu=on_gpu, projector_bytes=projector_bytes, gpus=gpus)
    return sum(found.values(), Memory())


def declared(wish: ModelConfig, estimated: Memory, on_gpu: bool) -> Memory:
    """What the model's settings say that it takes, in place of the estimate, if they do."""
    if wish.memory_mib is None:
        return estimated
    told = wish.memory_mib * MIB
    return Memory(estimated.ram, told) if on_gpu else Memory(told)


def fitting(
    metadata: Metadata, sizing: Sizing, wish: ModelConfig, weights_bytes: int, budget: Memory, on_gpu: bool,
    projector_bytes: int = 0, gpus: int = 1,
) -> str | None:  # fmt: skip
    """'context = 4096, or parallel = 2, or gpu_layers = 12': with each of these alone it fits. None if with nothing.

    What the operator left open is named beside it where it would otherwise be chosen anew.
    """

    def fits(changed: Sizing) -> bool:
        likely = _with_caches(metadata, sizing, changed)
        taken = estimate(
            metadata, likely, weights_bytes, on_gpu=on_gpu, projector_bytes=projector_bytes, gpus=gpus
        )  # fmt: skip
        return declared(wish, taken, on_gpu).fits(budget)

    layers = metadata.shape.layers if on_gpu else None
    found = (_shorter(sizing, fits), _fewer(sizing, fits), _off_gpu(sizing, layers, fits))
    changes = [change for change in found if change is not None]
    if not changes and sizing.parallel > 1:
        changes = [change for change in (_shorter(sizing.of(sizing.context, 1), fits),) if change is not None]
    return ", or ".join(_written(change, sizing, wish) for change in changes) or None


def _shorter(sizing: Sizing, fits: Fits) -> Sizing | None:
    most = _largest(sizing.context // _STEP, lambda steps: fits(sizing.of(steps * _STEP, sizing.parallel))) * _STEP
    most -= most % _ROUND if most > _ROUND else 0
    return sizing.of(most, sizing.parallel) if most >= _USEFUL else None


def _fewer(sizing: Sizing, fits: Fits) -> Sizing | None:
    most = _largest(sizing.parallel - 1, lambda slots: fits(sizing.of(sizing.context, slots)))
    return sizing.of(sizing.context, most) if most else None


def _off_gpu(sizing: Sizing, layers: int | None, fits: Fits) -> Sizing | None:
    """As many layers on the GPU as it has memory for, if the machine has memory for the others."""
    if layers is None:
        return None
    now = layers + 1 if sizing.gpu_layers is None else min(sizing.gpu_layers, layers + 1)
    return next((less for count in range(now - 1, -1, -1) if fits(less := replace(sizing, gpu_layers=count))), None)


def _largest(most: int, good: Callable[[int], bool]) -> int:
    """The largest number up to `most` that is good, where all smaller ones are; 0 if none is."""
    low, high = 0, max(0, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if good(middle) else (low, middle - 1)
    return low


def _with_caches(metadata: Metadata, before: Sizing, changed: Sizing) -> Sizing:
    """As it would be sized: no more is remembered than before, and no fewer checkpoints in all."""
    checkpoints = -(-(before.checkpoints + 1) * before.parallel // changed.parallel) if before.checkpoints else 0
    likely = replace(changed, checkpoints=min(MOST_CHECKPOINTS, checkpoints))
    return replace(likely, prompt_cache_mib=min(before.prompt_cache_mib, prompt_cache_mib(metadata, likely)))


def _written(change: Sizing, before: Sizing, wish: ModelConfig) -> str:
    """The change first, then what it rests on."""
    settings = {
        "context": (change.context, before.context, wish.context),
        "parallel": (change.parallel, before.parallel, wish.parallel),
        "gpu_layers": (change.gpu_layers, before.gpu_layers, before.gpu_layers or 0),
    }
    changed = [f"{name} = {now}" for name, (now, then, _) in settings.items() if now != then]
    open_ones = [f"{name} = {now}" for name, (now, then, told) in settings.items() if now == then and told is None]
    return " and ".join(changed + open_ones)
