"""What this machine has: CPU threads and memory that this process may use, and GPUs.

Not here: how GPUs are found and read (gpus), what is made of all this (sizing).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from node.gpus import Gpu, Gpus
from node.sizes.measuring import machine

_CGROUP = Path("/sys/fs/cgroup")
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Hardware:
    """`gpu` is the first GPU's name, `vram_mib` and `vram_free_bytes` are sums over all; None and 0 without one."""

    threads: int
    memory_bytes: int
    gpu: str | None = None
    vram_mib: int = 0
    vram_free_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()


async def detect(gpus: Gpus | None = None) -> Hardware:
    """Look at this machine, and through `gpus` if they are open. Never fails: what cannot be found out is absent."""
    opened = gpus or await Gpus.opened()
    found = opened.read()
    if gpus is None:
        opened.close()
    return Hardware(
        _threads(),
        machine().total,
        gpu=found[0].name if found else None,
        vram_mib=sum(gpu.total_bytes for gpu in found) // _MIB,
        vram_free_bytes=sum(gpu.free_bytes for gpu in found),
        gpus=found,
    )


def _threads() -> int:
    """Threads that may run at once: the affinity mask, and the container's share."""
    count = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        count = min(count, int(quota) / int(period))
    return max(1, round(count))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
