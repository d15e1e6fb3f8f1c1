"""One coarse clock for all time limits of the connections: a timer for each of thousands of streams would cost more
than their bytes do.

Who is watched keeps its own limits, and notes only *that* something happened, not when. Not here: what a limit is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

log = logging.getLogger("waypost.wire")


class Watched(Protocol):
    def look(self, now: float) -> None:
        """`now` is the loop's time, in seconds. May add to the watch and discard from it."""
        ...


class Watch:
    """Looks at each of those in it every `every_s` seconds. Nothing runs while it is empty."""

    __slots__ = ("_every_s", "_timer", "_watched")

    def __init__(self, every_s: float = 0.25) -> None:
        self._every_s = every_s
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Watch of {len(self._watched)}, {'running' if self._timer else 'at rest'}>"

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, it: Watched) -> None:
        self._watched.add(it)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._round)

    def discard(self, it: Watched) -> None:
        self._watched.discard(it)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _round(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = loop.call_later(self._every_s, self._round)
        for it in tuple(self._watched):
            if it not in self._watched:
                continue  # taken out by one that was looked at before it
            try:
                it.look(now)
            except Exception:  # one that fails must not stop the clock of all
                log.exception("%r could not be looked at", it)
                self.discard(it)
