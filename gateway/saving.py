"""When the snapshot is written: at once for a revocation, soon where that is cheap, seldom where it is dear.

What a crash loses of the last seconds, the registries and the nodes tell again. Not here: the file (snapshot).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.snapshot import Snapshot
from registry.trust import Trust

_EVERY_S = 1.0
_MOST_S = 30.0
_MOST_SOON_S = 5.0
_REST = 100  # times as long as writing took, it is left alone
_REST_SOON = 10  # and after a revocation or a curator's list


class Saving:
    """Owns whether there is anything to write, and when it is."""

    def __init__(self, snapshot: Snapshot, trust: Trust, names: Callable[[], dict[str, float]]) -> None:
        self._snapshot = snapshot
        self._trust = trust
        self._names = names
        self._due = False
        self._soon = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Saving due={self._due} soon={self._soon.is_set()}>"

    def due(self) -> None:
        """Something changed."""
        self._due = True

    def soon(self) -> None:
        """Something changed that a restart should not forget."""
        self._due = True
        self._soon.set()

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.get_running_loop().time
        took = 0.0
        while True:
            await self._rest(took)
            started = clock()
            self._due = False
            self._soon.clear()
            await self._snapshot.write(self._names(), self._trust.envelopes())
            took = clock() - started

    async def _rest(self, took: float) -> None:
        """Until it is time to write again."""
        soon_s, most_s = min(_REST_SOON * took, _MOST_SOON_S), min(_REST * took, _MOST_S)
        await asyncio.sleep(soon_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s - soon_s):
                await self._soon.wait()
        while not self._due:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._soon.wait()
