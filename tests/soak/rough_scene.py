"""Three nodes on a board that can be sent away, and a gateway: all that the long run of rough clients needs.

The board is a fake Aleph node, a program of its own, which cuts every connection while it is away. An advert lives for
a minute, so that a board that is away for longer matters. Not here: who asks, and what goes wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.busy.door import Door
from tests.busy.nodes import nodes
from tests.fakes.aleph import AlephNode, aleph_node
from tests.killing.host import Host
from tests.soak.processes import children

_ADVERT_LIFE_S = 60
_MODEL = {"context": 2048, "parallel": 2, "threads": 1}


@dataclass(frozen=True)
class Rough:
    board: AlephNode
    hosts: Sequence[Host]
    door: Door

    @property
    def urls(self) -> list[str]:
        """The gateway's, then the nodes'."""
        return [self.door.url, *(f"http://127.0.0.1:{host.port}" for host in self.hosts)]

    def pids(self) -> dict[str, int]:
        """The gateway's process and the agents', by name, as they are now."""
        programs = {"gateway": self.door.program} | {host.name: host.program for host in self.hosts}
        return {name: program.pid for name, program in programs.items() if program is not None}

    def engines(self) -> list[int]:
        """The llama-servers."""
        return [child for name, pid in self.pids().items() if name != "gateway" for child in children(pid)]


@contextlib.asynccontextmanager
async def rough_scene(folder: Path) -> AsyncIterator[Rough]:
    """All of it, ready."""
    async with (
        aleph_node(folder) as board,
        nodes(folder, 3, _MODEL, registry=board.registry, advert_life_s=_ADVERT_LIFE_S) as made,
        Door(folder, "gateway", [*made.words, "--open"], len(made.hosts)) as door,
    ):
        yield Rough(board, made.hosts, door)
