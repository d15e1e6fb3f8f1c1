"""What this machine has: CPU threads and memory that this process may use, and GPUs.

Not here: what is made of it (sizing).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_NULL = asyncio.subprocess.DEVNULL
_GPU_WAIT_S = 10.0
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Hardware:
    """`gpu` is the first GPU's name, `vram_mib` the sum over all of them; None and 0 without one."""

    threads: int
    memory_bytes: int
    gpu: str | None = None
    vram_mib: int = 0


async def detect() -> Hardware:
    """Look at this machine. Never fails: what cannot be found out is taken as absent."""
    gpu, vram_mib = await _gpus()
    return Hardware(_threads(), _memory_bytes(), gpu, vram_mib)


def _threads() -> int:
    """Threads that may run at once: the affinity mask, and the container's share."""
    count = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        count = min(count, int(quota) / int(period))
    return max(1, round(count))


def _memory_bytes() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(_CGROUP / "memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


async def _gpus() -> tuple[str | None, int]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, 0
    lines = (await _output(program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")).splitlines()
    found = [(name.strip(), size.strip()) for name, _, size in (line.rpartition(",") for line in lines)]
    sizes = [int(size) for _, size in found if size.isdigit()]
    return (found[0][0], sum(sizes)) if sizes else (None, 0)


async def _output(*command: str) -> str:
    """What the command prints; nothing if it fails, or hangs as a broken driver makes it."""
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=_NULL, stdout=asyncio.subprocess.PIPE, stderr=_NULL
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_GPU_WAIT_S):
            printed, _ = await child.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        return ""
    return printed.decode(errors="replace") if child.returncode == 0 else ""
