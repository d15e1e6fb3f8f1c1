"""What a program with all its processes has cost: CPU and memory, from /proc.

Not here: what one process costs (process).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.process import cpu_s, memory_mib
from bench.relay_programs import NotToBeHad


@dataclass(frozen=True)
class Cost:
    """CPU is user + system. `rss_kib` is what is resident; what processes share counts for each."""

    cpu_s: float
    rss_kib: float

    def since(self, before: Cost) -> Cost:
        """The CPU since then; memory stays what it is."""
        return Cost(self.cpu_s - before.cpu_s, self.rss_kib)


def cost(pids: Sequence[int]) -> Cost:
    """Of these processes and all below them. Raises NotToBeHad where one has ended."""
    try:
        every = [each for pid in pids for each in family(pid)]
        return Cost(sum(map(cpu_s, every)), sum(1024 * memory_mib(pid) for pid in every))
    except (OSError, ValueError) as error:  # a zombie has no memory
        raise NotToBeHad("a process of it ended under the load") from error


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += family(int(child))
    return found
