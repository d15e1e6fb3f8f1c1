"""What the kernel knows of a process: its open files and sockets, its memory, its children, the time that it has run.

Not here: what is held against that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> Counter[str]:
    """How many of each kind: `socket`, `pipe`, `anon_inode`, and `file` for what has a path. Empty once it is gone."""
    kinds: Counter[str] = Counter()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(entry)
                kinds["file" if target.startswith("/") else target.partition(":")[0]] += 1
    return kinds


def own_mib(pid: int) -> float | None:
    """Memory of its own, without the files that it has mapped. None once it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return None


def children(pid: int) -> list[int]:
    """Its main thread's: an agent's engines."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


async def busy(pid: int, seconds: float) -> float:
    """Which share of one processor it takes for so long."""
    before = _ran_s(pid)
    await asyncio.sleep(seconds)
    return (_ran_s(pid) - before) / seconds


def _ran_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S
