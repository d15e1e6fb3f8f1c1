"""Who gets an engine's slots: `lease` gives a ready engine with a free slot, or a refusal.

The one owner of what is in flight and what waits. Not here: the engines' processes (process), sending (engines).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from node.engines.llama import LlamaEngine
from node.process import NotReady
from relay.errors import TooManyRequests, Unavailable

_RETRY_S = 1


@dataclass(frozen=True)
class PoolLimits:
    """Times in seconds; `queue` is how many requests per engine may wait for a slot."""

    queue_s: float = 30.0
    ready_s: float = 30.0
    queue: int = 32


class _Seats:
    """One engine's slots, and who waits for one, first come first served."""

    def __init__(self, engine: LlamaEngine) -> None:
        self.engine = engine
        self.in_flight = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, limit_s: float) -> bool:
        """A slot, or False after `limit_s`. Cancelling leaves no trace."""
        if self.in_flight < self.engine.slots:
            self.in_flight += 1
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            async with asyncio.timeout(limit_s):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.done() and not turn.cancelled():
                self.give_back()  # it was handed to us as we left
            else:
                self.waiting.remove(turn)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def give_back(self) -> None:
        """Hand the slot to the next in line, or free it."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_flight -= 1


class Pool:
    """All engines of this node."""

    def __init__(self, engines: Iterable[LlamaEngine], limits: PoolLimits) -> None:
        self._seats = {engine.name: _Seats(engine) for engine in engines}
        self._limits = limits
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {s.in_flight}+{len(s.waiting)}" for name, s in self._seats.items())
        return f"<Pool {counts}{' draining' if self._draining else ''}>"

    def in_flight(self, name: str) -> int:
        return self._seats[name].in_flight

    def waiting(self, name: str) -> int:
        return len(self._seats[name].waiting)

    @property
    def draining(self) -> bool:
        return self._draining

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[LlamaEngine]:
        """A ready engine, one of its slots being the caller's. Raises TooManyRequests or Unavailable."""
        seats = self._seats[name]
        self._admit(seats)
        if not await seats.take(self._limits.queue_s):
            raise TooManyRequests(f"{name} is busy; try again.", code="busy", retry_after_s=_RETRY_S)
        self._idle.clear()
        try:
            await self._ready(seats.engine)
            yield seats.engine
        finally:
            seats.give_back()
            if not any(s.in_flight for s in self._seats.values()):
                self._idle.set()

    async def drain(self, limit_s: float) -> bool:
        """Refuse what is new and wait for what runs. False if something still runs after `limit_s`."""
        self._draining = True
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _admit(self, seats: _Seats) -> None:
        if self._draining:
            raise Unavailable("This node is shutting down.", code="draining", retry_after_s=_RETRY_S)
        if seats.in_flight >= seats.engine.slots and len(seats.waiting) >= self._limits.queue:
            raise TooManyRequests(
                f"{seats.engine.name} is busy, and {self._limits.queue} requests wait already; try again.",
                code="busy", retry_after_s=_RETRY_S,
            )  # fmt: skip

    async def _ready(self, engine: LlamaEngine) -> None:
        began = time.monotonic()
        try:
            await engine.process.ensure_ready(self._limits.ready_s)
        except NotReady as error:
            waited = time.monotonic() - began
            raise Unavailable(
                f"{engine.name} is not ready: its engine is {error.state.value} (waited {waited:.0f} s).",
                code="engine_not_ready", retry_after_s=max(1, round(self._limits.ready_s / 3)),
            ) from error  # fmt: skip
