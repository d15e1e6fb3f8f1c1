"""How long one request waits for its model, and the beats that it is given meanwhile.

Not here: what it waits for (residency), and what a beat says (api).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

Beat = Callable[[float], Awaitable[None]]


class Waiting:
    """One wait, of `limit_s` in all. `beat` is awaited every `beat_s` with what `expected_s` says."""

    def __init__(
        self,
        limit_s: float,
        beat: Beat | None,
        beat_s: float,
        expected_s: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._beat = beat
        self._beat_s = beat_s
        self._expected_s = expected_s
        self._clock = clock
        self._end = clock() + limit_s
        self._beat_at = clock() + beat_s

    def __repr__(self) -> str:
        return f"<Waiting for {self._end - self._clock():.1f} s more>"

    async def wait(self, change: Callable[[], Awaitable[object]]) -> bool:
        """Return at a change, or after a beat. False when the time is over."""
        now = self._clock()
        if now >= self._end:
            return False
        if self._beat is not None and now >= self._beat_at:
            await self._beat(self._expected_s())
            self._beat_at = self._clock() + self._beat_s
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._left_s(now)):
                await change()
        return True

    def _left_s(self, now: float) -> float:
        return (self._end if self._beat is None else min(self._end, self._beat_at)) - now
