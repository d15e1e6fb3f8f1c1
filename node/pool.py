"""Who gets an engine's slots: `lease` gives a ready engine with a free slot, or a refusal.

The one owner of what is in flight and what waits. Not here: the engines' processes (process), sending (engines).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from node.engines.engine import Engine
from node.life import NotReady, State
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

    def __init__(self, engine: Engine) -> None:
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

    def __init__(self, engines: Iterable[Engine], limits: PoolLimits) -> None:
        self._seats = {engine.name: _Seats(engine) for engine in engines}
        self._limits = limits
        self._draining = False
        self._admitted = 0
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

    @contextmanager
    def admitting(self) -> Iterator[None]:
        """A request that will lease, whose body is still to be read: a drain waits for it. Raises Unavailable."""
        self._refuse_when_draining()
        self._admitted += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._admitted -= 1
            self._notice_idle()

    @asynccontextmanager
    async def lease(self, name: str, *, admitted: bool = False) -> AsyncIterator[Engine]:
        """A ready engine, one of its slots being the caller's. Raises TooManyRequests or Unavailable.

        `admitted`: within `admitting`, and so let in while the node drains, to an engine that is there.
        """
        seats = self._seats[name]
        if not (admitted and seats.engine.life.state is State.READY):
            self._refuse_when_draining()
        self._refuse_when_full(seats)
        if not await seats.take(self._limits.queue_s):
            raise TooManyRequests(f"{name} is busy; try again.", code="busy", retry_after_s=_RETRY_S)
        self._idle.clear()
        try:
            await self._ready(seats.engine)
            yield seats.engine
        finally:
            seats.give_back()
            self._notice_idle()

    async def drain(self, limit_s: float) -> bool:
        """Refuse what is new and wait for what runs. False if something still runs after `limit_s`."""
        self._draining = True
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _notice_idle(self) -> None:
        if not self._admitted and not any(seats.in_flight for seats in self._seats.values()):
            self._idle.set()

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise Unavailable("This node is shutting down.", code="draining", retry_after_s=_RETRY_S)

    def _refuse_when_full(self, seats: _Seats) -> None:
        if seats.in_flight >= seats.engine.slots and len(seats.waiting) >= self._limits.queue:
            raise TooManyRequests(
                f"{seats.engine.name} is busy, and {self._limits.queue} requests wait already; try again.",
                code="busy", retry_after_s=_RETRY_S,
            )  # fmt: skip

    async def _ready(self, engine: Engine) -> None:
        began = time.monotonic()
        try:
            await engine.life.ensure_ready(self._limits.ready_s)
        except NotReady as error:
            waited = time.monotonic() - began
            raise Unavailable(
                f"{engine.name} is not ready: its engine is {error.state.value} (waited {waited:.0f} s).",
                code="engine_not_ready", retry_after_s=max(1, round(self._limits.ready_s / 3)),
            ) from error  # fmt: skip
