"""Who gets an engine's slots: `lease` gives a ready engine with a free slot, or a refusal that says when to come back.

Owns the seats of each engine, and whether the node drains. Not here: who waits for a slot and whose turn it is
(seats), which models are in memory (residency), the engines' processes (process), sending (engines).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from node.engines.engine import Engine
from node.estimate import retry_after_s
from node.life import NotReady
from node.residents.residency import Residency
from node.residents.tenant import Cold, Misfit, Tenant
from node.residents.waiting import Beat
from node.seats import LONGEST_RETRY_S, Load, NoSeat, Outcome, Portion, Seats
from node.turns import Share
from relay.errors import ApiError, TooManyRequests, Unavailable

ANYBODY: Share = ("",)
USUAL = Portion()
_WHY = {
    Outcome.TIMED_OUT: "; try again.",
    Outcome.EVICTED: ", and others have fewer requests waiting than you; try again.",
    Outcome.REFUSED: ", and as many requests wait as may; try again.",
}


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


class Pool:
    """The slots of all engines of this node. `limits` may be set anew."""

    def __init__(self, residency: Residency, limits: PoolLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._residency = residency
        self._seats: WeakKeyDictionary[Tenant, Seats] = WeakKeyDictionary()  # gone with the last who knows the model
        self.limits = limits
        self._clock = clock
        self._drained_by: float | None = None  # at the latest; None where it does not drain
        self._admitted = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        counts = ", ".join(f"{tenant.name}: {seats.load}" for tenant, seats in self._seats.items())
        return f"<Pool {counts} admitted={self._admitted}{' draining' if self.draining else ''}>"

    def in_flight(self, tenant: Tenant) -> int:
        """Slots that are taken."""
        return self._seats[tenant].load.running if tenant in self._seats else 0

    def waiting(self, tenant: Tenant) -> int:
        """Requests that wait for one."""
        return self._seats[tenant].load.waiting if tenant in self._seats else 0

    def load(self, tenant: Tenant) -> Load:
        return self._of(tenant).load

    def outcomes(self, tenant: Tenant) -> Mapping[Outcome, int]:
        """What became of its requests at the slots, since its engine is another."""
        return self._seats[tenant].outcomes if tenant in self._seats else {}

    @property
    def admitted(self) -> int:
        """Requests that are being read or answered."""
        return self._admitted

    @property
    def idle(self) -> bool:
        """Nothing runs, waits or is on its way in."""
        return not self._admitted and all(seats.idle for seats in self._seats.values())

    @property
    def draining(self) -> bool:
        return self._drained_by is not None

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
        self,
        tenant: Tenant,
        *,
        share: Share = ANYBODY,
        portion: Portion = USUAL,
        admitted: bool = False,
        patience: Patience | None = None,
    ) -> AsyncIterator[Engine]:
        """A ready engine, some of its slots being the caller's: `share` is who counts as one.

        Raises TooManyRequests or Unavailable, and Gone where the model is to be looked up again. `admitted`: within
        `admitting`, and so let in while the node drains, to an engine that is there.
        """
        if not (admitted and tenant.warm):
            self._refuse_when_draining()
        seats, limits = self._of(tenant), self.limits
        try:
            turn = await seats.take(share, portion, limits.queue, limits.queue_s)
        except NoSeat as refused:
            raise self._refusal(tenant, share, portion, refused.outcome) from refused
        self._idle.clear()
        ready_at, whole = None, False
        try:
            async with self._held(tenant, patience or Patience(limits.ready_s)) as engine:
                ready_at = self._clock()
                yield engine
            whole = True
        finally:
            seats.give_back(turn, ready_at, whole)
            self._notice_idle()

    async def drain(self, limit_s: float) -> bool:
        """Refuse what is new and wait for what runs and what waits. False if something still did after `limit_s`.

        Who still waits by then is told to go elsewhere.
        """
        if not self.draining:
            self.refuse(limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            self.send_away()
            return False
        return True

    def refuse(self, limit_s: float) -> None:
        """Take nothing new from now on; in `limit_s` the node is to be gone."""
        self._drained_by = self._clock() + limit_s

    def send_away(self) -> None:
        """Whoever waits for a slot gets none here."""
        for seats in self._seats.values():
            seats.send_away()

    def _of(self, tenant: Tenant) -> Seats:
        seats = self._seats.get(tenant)
        if seats is None:
            seats = self._seats[tenant] = Seats(tenant.engine, self._clock)
        return seats

    def _notice_idle(self) -> None:
        if not self._admitted and not any(seats.load.running for seats in self._seats.values()):
            self._idle.set()

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise self._draining()

    def _draining(self) -> ApiError:
        """It may be back once what runs has ended, and it has loaded its models again."""
        assert self._drained_by is not None
        ends_s = max((seats.done_in_s() for seats in self._seats.values()), default=0.0)
        ends_s = max(0.0, min(ends_s, self._drained_by - self._clock()))
        loads_s = max((tenant.load_s or 0.0 for tenant in self._residency.tenants if tenant.kept), default=0.0)
        told_s = retry_after_s(ends_s + loads_s, LONGEST_RETRY_S)
        return Unavailable("This node is shutting down.", code="draining", retry_after_s=told_s)

    def _refusal(self, tenant: Tenant, share: Share, portion: Portion, outcome: Outcome) -> ApiError:
        """Who holds the slots may wait for the model itself: then a slot is not free any sooner."""
        if outcome is Outcome.DRAINED:
            return self._draining() if self.draining else Unavailable("This node has stopped.", code="draining")
        expected_s = self._residency.expected_s(tenant)
        told_s = self._of(tenant).come_back_s(share, portion, self.limits.queue, expected_s)
        if not tenant.warm and not tenant.kept:
            return _cold(tenant, told_s)
        return TooManyRequests(f"{tenant.name} is busy{_WHY[outcome]}", code="busy", retry_after_s=told_s)

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
                    code="engine_not_ready",
                    retry_after_s=retry_after_s(max(self._residency.expected_s(tenant), 1.0), LONGEST_RETRY_S),
                ) from error
            yield engine


def _cold(tenant: Tenant, expected_s: float) -> Unavailable:
    return Unavailable(
        f"{tenant.name} is not loaded, and may be in {expected_s:.0f} s.",
        code="model_cold", retry_after_s=retry_after_s(expected_s, LONGEST_RETRY_S),
    )  # fmt: skip
