"""A gateway process with a port of its own, which may be ended and started again as it was.

Not here: the nodes behind it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.programs import Program, free_port, healthy, running


@dataclass
class Door:
    """`words` are what it is told beside its port and folder; `nodes` is how many have to have proven themselves."""

    folder: Path
    name: str
    words: Sequence[str]
    nodes: int
    port: int = field(default_factory=free_port)
    program: Program | None = None
    env: dict[str, str] = field(default_factory=dict)
    _life: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns once it may use all of its nodes."""
        command = ["-m", "waypost", "gateway", "serve", "--listen", f"127.0.0.1:{self.port}", "--allow-private"]
        command += ["--state", str(self.folder / self.name), *self.words]
        log = self.folder / f"{self.name}.txt"
        self.program = await self._life.enter_async_context(running(command, log, self.env))
        async with aiohttp.ClientSession() as session:
            await healthy(session, f"{self.url}/health", self.program, lambda health: health["proven"] >= self.nodes)

    async def stop(self) -> None:
        """As whoever restarts a service does: SIGTERM, then wait until it has ended by itself."""
        assert self.program is not None
        status = await self.program.stop()
        await self._life.aclose()
        assert status == 0, self.program.output()[-4000:]

    async def __aenter__(self) -> Door:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._life.aclose()
