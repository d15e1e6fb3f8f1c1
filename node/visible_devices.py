"""Which of the machine's GPUs a CUDA program sees. Pure: NVML's list and CUDA_VISIBLE_DEVICES in, a shorter list out.

Not here: NVML itself (gpus).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NvmlDevice:
    """A GPU, or a piece of one that is cut up (MIG). `index` is the GPU's, `handle` NVML's own."""

    index: int
    uuid: str
    name: str
    handle: object
    is_piece: bool = False


def visible(devices: Sequence[NvmlDevice], wish: str | None) -> tuple[NvmlDevice, ...]:
    """As CUDA does: in the wish's order, up to the first entry that names none; nothing if one is named twice.

    A program sees one piece of a GPU at most. Source: CUDA C++ Programming Guide, CUDA environment variables.
    """
    if wish is None:
        whole = tuple(device for device in devices if not device.is_piece)
        return whole or tuple(devices[:1])
    found: list[NvmlDevice] = []
    for entry in wish.split(","):
        device = _named(devices, entry.strip())
        if device is None:
            break
        if device in found:
            return ()
        found.append(device)
    return tuple(found[:1]) if any(device.is_piece for device in found) else tuple(found)


def _named(devices: Sequence[NvmlDevice], entry: str) -> NvmlDevice | None:
    """By number, or by the beginning of a UUID that no other has."""
    if entry.isdecimal():
        return next((device for device in devices if device.index == int(entry)), None)
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    matching = [device for device in devices if device.uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 else None
