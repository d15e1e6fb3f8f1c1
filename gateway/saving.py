"""When the snapshot is written: soon where that is cheap or a revocation came, seldom where it is dear.

What a crash loses of the last seconds, the registries and the nodes tell again. Not here: the file (snapshot).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.snapshot import Snapshot
from registry.trust import Trust

_EVERY_S = 1.0
_MOST_S = 30.0
_REST = 100  # times as long as writing took, it is left alone
_REST_SOON = 10  # and after a revocation or a curator's list


class Saving:
    """Owns whether there is anything to write, and when it is."""

    def __init__(self, snapshot: Snapshot, trust: Trust, names: Callable[[], dict[str, float]]) -> None:
        self._snapshot = snapshot
        self._trust = trust
        self._names = names
        self._due = False
        self._soon = False

    def __repr__(self) -> str:
        return f"<Saving due={self._due} soon={self._soon}>"

    def due(self) -> None:
        """Something changed."""
        self._due = True

    def soon(self) -> None:
        """Something changed that a restart should not forget."""
        self._due = self._soon = True

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.get_running_loop().time
        ended, took = clock(), 0.0
        while True:
            await asyncio.sleep(_EVERY_S)
            rest_s = min((_REST_SOON if self._soon else _REST) * took, _MOST_S)
            if self._due and clock() - ended >= rest_s:
                self._due = self._soon = False
                started = clock()
                await self._snapshot.write(self._names(), self._trust.envelopes())
                ended, took = clock(), clock() - started
