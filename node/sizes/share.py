"""What of this machine's memory is for models, and how much of it an engine holds.

Not here: how memory is read (measuring, gpus), and who gets it (budget).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from node.config import NodeConfig
from node.engines.engine import Engine
from node.gpus import Gpus
from node.hardware import Hardware
from node.process import Process
from node.sizes.measuring import taken
from node.sizes.memory import MIB, Memory

_RAM_SHARE = 0.9  # of all: the machine is thought to be this node's
_VRAM_SHARE = 0.95  # of what was free when the node started


def budget_of(config: NodeConfig, hardware: Hardware) -> Memory:
    """As the options say, else nearly all that there is."""
    ram = hardware.memory_bytes * _RAM_SHARE if config.ram_mib is None else config.ram_mib * MIB
    vram = hardware.vram_free_bytes * _VRAM_SHARE if config.vram_mib is None else config.vram_mib * MIB
    return Memory(int(ram), int(vram))


def within(budget: Memory, hardware: Hardware) -> Hardware:
    """The machine as models are sized for it: none is made larger than all of them may be."""
    return replace(
        hardware,
        memory_bytes=min(hardware.memory_bytes, budget.ram),
        vram_mib=min(hardware.vram_mib, budget.vram // MIB),
    )


def measured_by(gpus: Gpus) -> Callable[[Engine], Memory | None]:
    """What tells how much an engine's processes hold: None where it has none here. It blocks for some milliseconds."""

    def measure(engine: Engine) -> Memory | None:
        pid = engine.life.pid if isinstance(engine.life, Process) else None
        return None if pid is None else taken(pid, gpus)

    return measure
