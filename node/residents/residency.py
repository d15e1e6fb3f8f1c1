"""The one owner of what is loaded: engines are started and stopped here, within a budget of memory.

`hold` is how a request uses a model: it is loaded if it is not, and not unloaded meanwhile. Not here: who is loaded
next (budget), who gets an engine's slots (pool), the engines' processes (process).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from node.engines.engine import Engine
from node.life import NotReady, State
from node.residents.budget import Place, fits, plan, room_in_s
from node.residents.stay import Stay
from node.residents.tenant import Cold, Gone, Misfit, Tenant
from node.residents.waiting import Beat, Waiting
from node.sizes.memory import MIB, Memory

log = logging.getLogger("waypost.node")

_GUESSED_PER_S = 300 * MIB  # read from a disk, of a model that was never loaded here
_GUESSED_ANSWER_S = 5.0
_SMOOTH = 0.2  # weight of the newest answer in the mean


class Residency:
    """`run` keeps to the plan until cancelled. `measure` tells what an engine's processes hold, if anybody can."""

    def __init__(
        self,
        budget: Memory,
        hold_s: float,
        measure: Callable[[Engine], Awaitable[Memory | None]],
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.hold_s = hold_s
        self._measure = measure
        self._on_change = on_change
        self._clock = clock
        self._tenants: dict[int, Tenant] = {}
        self._stays: dict[int, Stay] = {}  # the last one of each
        self._keys = itertools.count(1)
        self._wants = itertools.count(1)
        self._poked = asyncio.Event()
        self._changed = asyncio.Event()
        self._dismissals: set[asyncio.Task[None]] = set()
        self._answer_s = _GUESSED_ANSWER_S

    def __repr__(self) -> str:
        return f"<Residency {self.budget} {list(self._tenants.values())}>"

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        return tuple(self._tenants.values())

    def add(self, engine: Engine, need: Memory, *, kept: bool, idle_s: float) -> Tenant:
        """A further model; a kept one is loaded at once."""
        tenant = Tenant(next(self._keys), engine, need, kept, idle_s, self._clock())
        self._tenants[tenant.key] = tenant
        self._make_way()
        self._poke()
        return tenant

    def room(self, leaving: Tenant | None = None) -> Memory:
        """What kept models leave to others; `leaving` is one of them that will not be."""
        staying = (tenant for tenant in self._tenants.values() if not tenant.parting and tenant is not leaving)
        return self.budget - sum((tenant.counted for tenant in staying if tenant.stays), Memory())

    def dismiss(self, tenant: Tenant) -> None:
        """Take no more requests for it, let those that run end, unload it, and forget it."""
        if tenant.removed:
            return
        tenant.removed = True
        dismissal = asyncio.create_task(self._dismiss(tenant))
        self._dismissals.add(dismissal)
        dismissal.add_done_callback(self._dismissals.discard)
        self._tell()

    def keep(self, tenant: Tenant, kept: bool, idle_s: float) -> None:
        """It is kept loaded from now on, or unloaded when it was idle for that long."""
        tenant.kept, tenant.idle_s = kept, idle_s
        self._make_way()
        self._tell()

    def limit(self, budget: Memory, hold_s: float) -> None:
        """From now on."""
        self.budget, self.hold_s = budget, hold_s
        self._make_way()
        self._tell()

    def _make_way(self) -> None:
        """Who parts stays until the other has come, but where not all fit: then it leaves as if on demand."""
        new = Memory()  # the largest of those on demand that are still to show that they work
        for tenant in self._tenants.values():
            if not tenant.kept and not tenant.loads and not tenant.removed:
                new = new.most(tenant.counted)
        for parting in [tenant for tenant in self._tenants.values() if tenant.parting]:
            kept = (tenant.counted for tenant in self._tenants.values() if tenant.stays)
            if not sum(kept, new).fits(self.budget):
                parting.kept = False

    @asynccontextmanager
    async def hold(
        self, tenant: Tenant, limit_s: float, beat: Beat | None = None, beat_s: float = 15.0
    ) -> AsyncIterator[Engine]:
        """Its engine, ready. `beat` is awaited with the seconds still to wait, every `beat_s` of waiting.

        Raises Cold (no room in time), Misfit (never), Gone (removed), NotReady (its engine does not come up).
        """
        waiting = Waiting(limit_s, beat, beat_s, partial(self.expected_s, tenant), self._clock)
        await self._admitted(tenant, waiting)
        tenant.leases += 1
        try:
            await self._ready(tenant, waiting)
            since = self._clock()
            yield tenant.engine
            self._answer_s += _SMOOTH * (self._clock() - since - self._answer_s)
        finally:
            tenant.leases -= 1
            tenant.last_used = self._clock()
            if tenant.removed:
                self._tell()
            self._poke()

    def expected_s(self, tenant: Tenant) -> float:
        """Seconds until the model may answer, as far as can be told."""
        if tenant.warm:
            return 0.0
        now = self._clock()
        load_s = tenant.load_s or 1.0 + (tenant.need.ram + tenant.need.vram) / _GUESSED_PER_S
        if tenant.place is Place.WARM:
            return tenant.engine.life.pause_s + load_s  # its engine has ended, and is started again
        if tenant.place is Place.LOADING:
            so_far_s = now - tenant.began
            return max(1.0, load_s - so_far_s if so_far_s < load_s else so_far_s / 2)
        views = [other.view() for other in self._tenants.values()]
        return load_s + room_in_s(views, tenant.key, self.budget, now, self.hold_s, self._answer_s)

    async def run(self) -> None:
        """Load and unload until cancelled; all engines are gone when this returns."""
        try:
            while True:
                self._poked.clear()
                look_again_s = self._carry_out()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(look_again_s):
                        await self._poked.wait()
        finally:
            await self._end()

    def _carry_out(self) -> float | None:
        self._note_who_fits()
        made = plan([tenant.view() for tenant in self._tenants.values()], self.budget, self._clock(), self.hold_s)
        for key in made.leave:
            self._tenants[key].place = Place.LEAVING
        for tenant in self._tenants.values():
            if tenant.place is Place.LEAVING and not (tenant.leases and tenant.up):
                self._stays[tenant.key].end()
        for key in made.load:
            self._stays[key] = Stay(self._tenants[key], self._measure, self._tell, self._poke, self._clock)
        if made.leave or made.load:
            self._tell()
        return made.look_again_s

    def _note_who_fits(self) -> None:
        for tenant in self._tenants.values():
            does = tenant.present or tenant.removed or fits(tenant.counted, self.room(leaving=tenant))
            if does is not tenant.fits:
                tenant.fits = does
                if not does:
                    log.error("%s cannot be loaded now: %s", tenant.name, self._misfit(tenant))
                self._tell()

    def _misfit(self, tenant: Tenant) -> str:
        room = self.room(leaving=tenant)
        return f"it needs {tenant.counted}, and {room} are there beside the models that are kept loaded"

    async def _dismiss(self, tenant: Tenant) -> None:
        while tenant.leases:
            await self._changed.wait()
        if stay := self._stays.get(tenant.key):
            stay.end()
            await stay.ended()
            del self._stays[tenant.key]
        del self._tenants[tenant.key]
        self._tell()

    async def _admitted(self, tenant: Tenant, waiting: Waiting) -> None:
        """Return once it is loaded, or is being loaded. Without an `await` where it is: nobody comes between."""
        if tenant.present:
            return
        want = next(self._wants)
        tenant.wants[want] = self._clock()
        self._poke()
        try:
            while not tenant.present:
                if tenant.removed:
                    raise Gone
                if tenant.failed:
                    raise NotReady(State.FAILED)
                if not fits(tenant.counted, self.room(leaving=tenant)):
                    raise Misfit(self._misfit(tenant))
                if not await waiting.wait(self._changed.wait):
                    raise Cold(self.expected_s(tenant))
        finally:
            del tenant.wants[want]
            self._poke()  # others may have waited behind it

    async def _ready(self, tenant: Tenant, waiting: Waiting) -> None:
        life = tenant.engine.life
        while not (tenant.up and life.state is State.READY):
            if life.over:
                raise NotReady(life.state)
            if not await waiting.wait(self._changed.wait if life.state is State.READY else life.changed):
                raise NotReady(life.state) if life.failures else Cold(self.expected_s(tenant))

    def _tell(self) -> None:
        """Something has changed: those who wait look again, and so does the plan."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._poke()
        self._on_change()

    def _poke(self) -> None:
        self._poked.set()

    async def _end(self) -> None:
        for dismissal in self._dismissals:
            dismissal.cancel()
        for stay in self._stays.values():
            stay.end()
        endings = [stay.ended() for stay in self._stays.values()]
        await asyncio.gather(*self._dismissals, *endings, return_exceptions=True)
