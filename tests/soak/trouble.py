"""What goes wrong beside the clients: engines and nodes are killed, one at a time, and the board is away half the time.

Not here: the clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter

from tests.killing.host import Host
from tests.killing.scene import Scene
from tests.programs import until
from tests.soak.processes import children
from tests.soak.rough_scene import Rough

_PAUSE_S = (3.0, 12.0)
_ENGINE_S = 60.0


class Trouble:
    """`counts` says what has been done so far. The first node's agent is spared, so that its memory can be followed."""

    def __init__(self, rough: Rough, chance: random.Random) -> None:
        self._rough = rough
        self._chance = chance
        self.counts: Counter[str] = Counter()

    async def kill_on(self, over: asyncio.Event) -> None:
        """The next one is killed only when the last is asked again: two of three are there at any time."""
        while not over.is_set():
            await _pause(self._chance.uniform(*_PAUSE_S), over)
            if over.is_set():
                return
            host = self._chance.choice(self._rough.hosts)
            if host is self._rough.hosts[0] or self._chance.random() < 0.5:
                await self._kill_engine(host)
            else:
                host.kill()
                self.counts["nodes killed"] += 1
                await host.start_again()
            await self._usable(host)

    async def send_board_away(self, over: asyncio.Event, away_s: float) -> None:
        """For so long, then back for so long, again and again; it is there in the end."""
        while not over.is_set():
            await self._rough.board.control(answer="away")
            self.counts["board away"] += 1
            await _pause(away_s, over)
            await self._rough.board.control(answer="")
            await _pause(away_s, over)

    async def _kill_engine(self, host: Host) -> None:
        assert host.program is not None
        before = children(host.program.pid)
        for engine in before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)
                self.counts["engines killed"] += 1
        agent = host.program.pid
        await until(
            lambda: bool(set(children(agent)) - set(before)), lambda: f"{host.name}'s next engine", limit_s=_ENGINE_S
        )

    async def _usable(self, host: Host) -> None:
        program = self._rough.door.program
        assert program is not None
        await Scene(self._rough.hosts, self._rough.door.port, program).usable(host)


async def _pause(seconds: float, over: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()
