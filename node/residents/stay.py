"""One stay of a model in memory: from the start of its engine until that is gone, whatever happens meanwhile.

Not here: when it begins and when it is to end (residency), and the engine's process (process).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from node.engines.engine import Engine
from node.residents.budget import Place
from node.residents.tenant import Tenant
from node.sizes.memory import Memory

log = logging.getLogger("waypost.node")

_MEASURE_EVERY_S = 30.0  # caches grow while a model answers


class Stay:
    """It begins when it is made. `on_change` is told of its steps, `on_taken` of what its processes hold."""

    def __init__(
        self,
        tenant: Tenant,
        measure: Callable[[Engine], Awaitable[Memory | None]],
        on_change: Callable[[], None],
        on_taken: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._tenant = tenant
        self._measure = measure
        self._on_change = on_change
        self._on_taken = on_taken
        self._clock = clock
        tenant.place, tenant.up, tenant.began = Place.LOADING, False, clock()
        tenant.engine.life.renew()
        log.info("%s: loading, %s set aside", tenant.name, tenant.counted)
        self._running = asyncio.create_task(tenant.engine.run())
        self._whole = asyncio.create_task(self._live())

    def __repr__(self) -> str:
        return f"<Stay of {self._tenant!r}>"

    def end(self) -> None:
        """From now on nobody is let in; `ended` tells when it is over."""
        tenant = self._tenant
        if tenant.place not in (Place.COLD, Place.UNLOADING):
            tenant.place = Place.UNLOADING
            log.info("%s: unloading after %.0f s", tenant.name, self._clock() - tenant.began)
            self._running.cancel()  # once: a second time would disturb it where it tidies up

    async def ended(self) -> None:
        """Return when the engine is gone."""
        await asyncio.wait((self._whole,))

    async def _live(self) -> None:
        tenant = self._tenant
        watching = asyncio.create_task(self._watch())
        await asyncio.wait((self._running,))  # it ends by itself only where it is given up
        watching.cancel()
        await asyncio.wait((watching,))
        for task in (self._running, watching):
            error = None if task.cancelled() else task.exception()
            if error is not None:
                log.error("%s: its engine failed: %r", tenant.name, error, exc_info=error)
        if tenant.place is not Place.UNLOADING and not tenant.failed:
            tenant.engine.life.give_up("a fault of the node itself; see its log")  # else it is begun again for ever
        if tenant.failed and tenant.loads:
            log.error("%s is no longer served: %s", tenant.name, tenant.engine.life.failure)
        tenant.place = Place.COLD
        tenant.unloads += tenant.loads > tenant.unloads
        self._on_change()

    async def _watch(self) -> None:
        tenant = self._tenant
        await tenant.engine.life.ready()
        now = self._clock()
        tenant.load_s, tenant.loaded_at, tenant.last_used = now - tenant.began, now, now
        tenant.loads, tenant.up = tenant.loads + 1, True
        if tenant.place is Place.LOADING:
            tenant.place = Place.WARM
        log.info("%s: loaded in %.1f s", tenant.name, tenant.load_s)
        self._on_change()
        while True:
            taken = await self._measure(tenant.engine)
            if taken is not None:
                tenant.taken = taken
                self._on_taken()
            await asyncio.sleep(_MEASURE_EVERY_S)
