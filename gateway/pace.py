"""How long work may hold the event loop: a few milliseconds, then whoever waits has a turn."""

from __future__ import annotations

import asyncio
import time

SLICE_S = 0.004


class Pace:
    """One piece of long work. `await pace.step()` after each small part of it."""

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s = slice_s
        self._since = time.perf_counter()

    async def step(self) -> None:
        """Give the loop back if this slice is used up."""
        if time.perf_counter() - self._since >= self._slice_s:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
