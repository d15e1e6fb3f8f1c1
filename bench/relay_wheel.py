"""A clock of a synthetic engine: who is due at which millisecond. Cheaper than a timer for each of 5,000 streams.

Not here: what a stream does when it is due (relay_upstream).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

_TICK_S = 0.001


class Due(Protocol):
    def step(self) -> None: ...


class Wheel:
    """Calls `step` of each stream when it is due. Nothing runs while none waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[Due]] = {}
        self._eager: list[Due] = []
        self._at = 0
        self._turning = False
        self._spinning = False

    def add(self, stream: Due, in_ms: int) -> None:
        """0 means as soon as all others have had their turn."""
        if in_ms == 0:
            self._eager.append(stream)
            if not self._spinning:
                self._spinning = True
                self._loop.call_soon(self._spin)
            return
        if not self._turning:
            self._turning = True
            self._at = self._now()
            self._loop.call_later(_TICK_S, self._turn)
        self._slots.setdefault(self._at + in_ms, []).append(stream)

    def _turn(self) -> None:
        """Where the clock was held up, no stream loses the tokens that it missed."""
        now = self._now()
        while self._at <= now:
            for stream in self._slots.pop(self._at, ()):
                stream.step()
            self._at += 1
        if self._slots:
            self._loop.call_later(_TICK_S, self._turn)
        else:
            self._turning = False

    def _spin(self) -> None:
        eager, self._eager = self._eager, []
        for stream in eager:
            stream.step()
        if self._eager:
            self._loop.call_soon(self._spin)
        else:
            self._spinning = False

    def _now(self) -> int:
        return int(self._loop.time() * 1000)
