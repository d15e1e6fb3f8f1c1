"""How much memory: of the machine, and of its GPUs. A value with arithmetic.

Not here: what a model will take (footprint), what a process has taken (measuring), who may be in memory (budget).
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    ram: int = 0
    vram: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.ram + other.ram, self.vram + other.vram)

    def __sub__(self, other: Memory) -> Memory:
        return Memory(self.ram - other.ram, self.vram - other.vram)

    def __str__(self) -> str:
        return f"{text_of(self.ram)} RAM" + (f" + {text_of(self.vram)} VRAM" if self.vram else "")

    def most(self, other: Memory) -> Memory:
        """Of each the larger."""
        return Memory(max(self.ram, other.ram), max(self.vram, other.vram))

    def fits(self, within: Memory) -> bool:
        """Whether this much is there."""
        return self.ram <= within.ram and self.vram <= within.vram


def text_of(count: int) -> str:
    """Bytes as people read them."""
    mib = count / MIB
    return f"{mib / 1024:.1f} GiB" if abs(mib) >= 1024 else f"{mib:.0f} MiB"
