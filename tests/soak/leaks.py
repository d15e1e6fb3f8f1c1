"""What a long run leaves behind: open files, sockets and tasks, memory, requests still counted, engines still at work.

Files and sockets are counted from /proc, tasks by /metrics, before the first request, and must come back to that once
the connections that were kept have ended. Memory is what a process has of its own, each second: the median of the run's
last quarter beside that of its second, since the first is warming up. Not here: the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections import Counter
from dataclasses import dataclass, field

from tests.busy.gauges import all_zero, tasks, tasks_as_before
from tests.programs import until
from tests.soak.processes import busy, open_files, own_mib
from tests.soak.rough_scene import Rough

_KEPT_S = 120.0  # connections that nobody uses any more
_IDLE = 0.05  # of a processor
_LOOK_S = 2.0


@dataclass
class Memory:
    """Of those whose process is the same from beginning to end, in MiB."""

    pids: dict[str, int]
    read: dict[str, list[float]] = field(default_factory=dict)

    async def follow(self, over: asyncio.Event) -> None:
        while not over.is_set():
            for name, pid in self.pids.items():
                found = own_mib(pid)
                if found is not None:
                    self.read.setdefault(name, []).append(found)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await over.wait()

    def growth(self) -> dict[str, float]:
        """By how much more there was in the last quarter than in the second one, as a share of it."""
        return {name: _growth(values) for name, values in self.read.items()}

    def __str__(self) -> str:
        grown = self.growth()
        return ", ".join(f"{name} {values[-1]:.0f} MiB ({grown[name]:+.1%})" for name, values in self.read.items())


def _growth(values: list[float]) -> float:
    quarter = max(1, len(values) // 4)
    early, late = values[quarter : 2 * quarter] or values, values[-quarter:]
    return statistics.median(late) / statistics.median(early) - 1


@dataclass(frozen=True)
class Open:
    """What the gateway and each agent have: files and sockets by kind, and tasks by their URL."""

    files: dict[str, Counter[str]]
    tasks: dict[str, int]

    @classmethod
    async def now(cls, rough: Rough) -> Open:
        return cls(_files(rough), {url: await tasks(url) for url in rough.urls})


async def nothing_left(rough: Rough, before: Open) -> None:
    """No request counted, no engine at work, no file, socket or task more than before. AssertionError says what there
    is."""
    await all_zero(rough.urls)
    shares = await asyncio.gather(*(busy(engine, _LOOK_S) for engine in rough.engines()))
    assert len(shares) == len(rough.hosts), "an engine too many, or too few"
    assert max(shares) <= _IDLE, f"engines at work for nobody: {shares}"
    opened = before.files
    await until(
        lambda: not _more(rough, opened), lambda: f"what was not open before: {_more(rough, opened)}", limit_s=_KEPT_S
    )
    await tasks_as_before(before.tasks)


def _files(rough: Rough) -> dict[str, Counter[str]]:
    return {name: open_files(pid) for name, pid in rough.pids().items()}


def _more(rough: Rough, before: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    return {name: kinds for name, now in _files(rough).items() if (kinds := now - before[name])}
