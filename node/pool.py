"""Who gets an engine's slots: `lease` gives a ready engine with a free slot, or a refusal.

The one owner of what is in flight and what waits. Not here: which models are in memory (residency), the engines'
processes (process), sending (engines).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from node.engines.engine import Engine
from node.life import NotReady
from node.residents.residency import Residency
from node.residents.tenant import Cold, Misfit, Tenant
from node.residents.waiting import Beat
from relay.errors import ApiError, TooManyRequests, Unavailable

_RETRY_S = 1
_LONGEST_RETRY_S = 600


@dataclass(frozen=True)
class PoolLimits:
    """Times in seconds; `queue` is how many requests per engine may wait for a slot."""

    queue_s: float = 30.0
    ready_s: float = 30.0
    queue: int = 32


@dataclass(frozen=True)
class Patience:
    """For how long a request waits for its model to be ready; `beat` is awaited every `beat_s` of it."""

    limit_s: float
    beat: Beat | None = None
    beat_s: float = 15.0


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
            elif turn in self.waiting:  # else it was passed over, as one that has left
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
    """The slots of all engines of this node. `limits` may be set anew."""

    def __init__(self, residency: Residency, limits: PoolLimits) -> None:
        self._residency = residency
        self._seats: WeakKeyDictionary[Tenant, _Seats] = WeakKeyDictionary()  # gone with the last who knows the model
        self.limits = limits
        self._draining = False
        self._admitted = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        counts = ", ".join(f"{tenant.name}: {s.in_flight}+{len(s.waiting)}" for tenant, s in self._seats.items())
        return f"<Pool {counts}{' draining' if self._draining else ''}>"

    def in_flight(self, tenant: Tenant) -> int:
        return self._seats[tenant].in_flight if tenant in self._seats else 0

    def waiting(self, tenant: Tenant) -> int:
        return len(self._seats[tenant].waiting) if tenant in self._seats else 0

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
    async def lease(
        self, tenant: Tenant, *, admitted: bool = False, patience: Patience | None = None
    ) -> AsyncIterator[Engine]:
        """A ready engine, one of its slots being the caller's.

        Raises TooManyRequests or Unavailable, and Gone where the model is to be looked up again. `admitted`: within
        `admitting`, and so let in while the node drains, to an engine that is there.
        """
        seats = self._seats.setdefault(tenant, _Seats(tenant.engine))
        if not (admitted and tenant.warm):
            self._refuse_when_draining()
        if seats.in_flight >= seats.engine.slots and len(seats.waiting) >= self.limits.queue:
            raise self._busy(
                tenant, f"{tenant.name} is busy, and {self.limits.queue} requests wait already; try again."
            )
        if not await seats.take(self.limits.queue_s):
            raise self._busy(tenant, f"{tenant.name} is busy; try again.")
        self._idle.clear()
        try:
            async with self._held(tenant, patience or Patience(self.limits.ready_s)) as engine:
                yield engine
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

    def _busy(self, tenant: Tenant, why: str) -> ApiError:
        """Who holds the slots may wait for the model itself: then a slot is not free in a second."""
        if tenant.warm or tenant.kept:
            return TooManyRequests(why, code="busy", retry_after_s=_RETRY_S)
        return _cold(tenant, self._residency.expected_s(tenant))

    @asynccontextmanager
    async def _held(self, tenant: Tenant, patience: Patience) -> AsyncIterator[Engine]:
        """The engine, loaded and ready; what stands against that, as an error of ours."""
        async with AsyncExitStack() as stack:
            try:
                holding = self._residency.hold(tenant, patience.limit_s, patience.beat, patience.beat_s)
                engine = await stack.enter_async_context(holding)
            except Cold as cold:
                raise _cold(tenant, cold.retry_s) from cold
            except Misfit as error:
                text = f"{tenant.name} does not fit into this node's memory now."
                raise Unavailable(text, code="model_not_loaded") from error
            except NotReady as error:
                raise Unavailable(
                    f"{tenant.name} is not ready: its engine is {error.state.value}.",
                    code="engine_not_ready", retry_after_s=max(_RETRY_S, round(self.limits.ready_s / 3)),
                ) from error  # fmt: skip
            yield engine


def _cold(tenant: Tenant, expected_s: float) -> Unavailable:
    return Unavailable(
        f"{tenant.name} is not loaded, and may be in {expected_s:.0f} s.",
        code="model_cold", retry_after_s=max(_RETRY_S, min(math.ceil(expected_s), _LONGEST_RETRY_S)),
    )  # fmt: skip
