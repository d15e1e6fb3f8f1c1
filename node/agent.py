"""A running node: its parts wired together, started, and stopped in the right order.

The first SIGTERM or SIGINT drains, the second stops at once. Not here: what must be there before (app), which routes
there are (api).
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from node.access import Access
from node.api import Api, Reports, Waits
from node.arrival import Parts
from node.certificate import Certificate
from node.config import NodeConfig
from node.gpus import Gpus
from node.hardware import Hardware
from node.listening import listen
from node.models import Models
from node.offering import Offering
from node.opening import Opener
from node.pictures import Pictures
from node.pool import Pool, PoolLimits
from node.proxying import Proxy
from node.publishing.advertiser import Advertiser
from node.publishing.wellknown import WellKnown
from node.reloading import Reloading
from node.residents.residency import Residency
from node.sizes.share import budget_of, measured_by, within
from node.store.store import Store
from node.telemetry.gpu_readings import GpuReadings
from node.telemetry.health import Health
from node.telemetry.metrics import Metrics
from node.telemetry.throughput import Throughput
from node.wanted import Place
from registry.keys import NodeKey
from relay.call import BodyLimits
from relay.limits import Limits

log = logging.getLogger("waypost.node")

_RETIRE_S = 10.0


class StartFailed(Exception):
    """The node cannot run; one line with the fix."""


class Agent:
    """A running node. It owns the tasks: the server, the engines, the models on their way, the advertiser."""

    def __init__(
        self, config: NodeConfig, key: NodeKey, access: Access, runtime: Path, gpus: Gpus, hardware: Hardware,
        certificate: Certificate | None, advertiser: Advertiser | None,
    ) -> None:  # fmt: skip
        self._config = config
        self._key = key
        self._certificate = certificate
        self._advertiser = advertiser
        self._url = ""
        self._changed = asyncio.Event()
        self._models = Models(self._on_change)
        measure = measured_by(gpus)
        self._hardware = hardware
        budget = budget_of(config, hardware)
        self._residency = Residency(
            budget, config.hold_s, lambda engine: asyncio.to_thread(measure, engine), self._on_change
        )
        self._pool = Pool(self._residency, _pool_limits(config))
        pictures = Pictures(runtime / "pictures", lambda: config.public_url or self._url)
        opener = Opener(Place(within(budget, hardware), runtime, self._on_change), pictures)
        self._store = Store(config.weights or config.state / "weights", config.aleph_api)
        parts = Parts(self._models, opener, self._store, self._residency, measure)
        self._offering = Offering(config, parts)
        self._api = self._make_api(access, pictures, gpus)
        self._stop = asyncio.Event()
        self._drain_asked = asyncio.Event()
        self._halt_asked = asyncio.Event()

    def _make_api(self, access: Access, pictures: Pictures, gpus: Gpus) -> Api:
        config, advertiser, models, pool = self._config, self._advertiser, self._models, self._pool
        limits = BodyLimits(config.body_limit_bytes, config.upload_limit_bytes)
        spki = self._certificate.key.spki_sha256 if self._certificate else None
        well_known = WellKnown(self._key, config.public_url, spki, lambda: advertiser.current if advertiser else None)
        proxy = Proxy(access, models, pool, limits, Limits(head_s=config.head_s, gap_s=config.gap_s))
        further = [*well_known.routes(), *pictures.routes(), *proxy.routes()]
        return Api(self._key, access, models, pool, limits, _waits(config), self._reports(gpus), further)

    def _reports(self, gpus: Gpus) -> Reports:
        advertiser, throughput, readings, metrics = self._advertiser, Throughput(), GpuReadings(gpus.read), Metrics()
        metrics.follow(self._models, self._pool, self._residency, throughput)
        metrics.follow_boards(self._boards)
        health = Health(
            self._models, self._pool, self._residency, readings, throughput, self._boards,
            lambda: self._offering.settled,
        )  # fmt: skip
        return Reports(health, metrics, readings, throughput, lambda: advertiser.operator if advertiser else None)

    def _boards(self) -> list[dict[str, str]]:
        return self._advertiser.standings if self._advertiser else []

    async def run(self, reread: Callable[[], NodeConfig]) -> None:
        """Serve until told to stop. Raises StartFailed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        bound: asyncio.Future[str] = loop.create_future()
        serving = asyncio.create_task(self._listen(bound))
        await asyncio.wait((serving, bound), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        working = asyncio.create_task(self._work(bound.result(), reread))
        asked = asyncio.create_task(self._drain_asked.wait())
        try:
            await asyncio.wait((serving, working, asked), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            await self._drain()
        finally:
            await self._end(serving, working, asked)

    def _on_signal(self) -> None:
        """The first one refuses what is new before the loop goes on to anything else."""
        if self._drain_asked.is_set():
            self._halt_asked.set()
            self._halt()
            return
        self._pool.refuse(self._config.drain_s)
        self._drain_asked.set()

    def _halt(self) -> None:
        """Whoever waits is sent away, and engines end without grace: those too that are ending already."""
        self._pool.send_away()
        for tenant in self._residency.tenants:
            tenant.engine.life.halt()

    def _on_change(self) -> None:
        """A model stands otherwise than before."""
        self._changed.set()
        if self._advertiser is not None:
            self._advertiser.poke()

    async def _listen(self, bound: asyncio.Future[str]) -> None:
        tls = self._certificate.context if self._certificate else None
        try:
            await listen(self._api, self._config.listen, tls, self._stop, bound.set_result)
        except OSError as error:
            raise StartFailed(
                f"cannot listen on {self._config.listen} ({error.strerror}); choose another --listen"
            ) from error

    async def _work(self, url: str, reread: Callable[[], NodeConfig]) -> None:
        """Bring the models, and keep their engines and the advert up until cancelled."""
        self._url = url
        reloading = Reloading(self._offering, reread, self._set_live, self._drain_asked.is_set)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._residency.run())
                await self._offering.begin()
                group.create_task(reloading.run())
                if self._certificate is not None:
                    group.create_task(self._certificate.run())
                if self._advertiser is not None:
                    group.create_task(self._advertiser.run(self._offering.offered))
                try:
                    await self._watch(url)
                finally:
                    await self._offering.close()  # while engines are there: none of them has failed
        except BaseExceptionGroup as group:  # not `except*`: before Python 3.11.4 what that raises is in a group again
            failed, others = group.split(StartFailed)
            if failed is None or others is not None:
                raise
            raise _first(failed) from None
        finally:
            await self._offering.close()
            await self._store.close()

    async def _watch(self, url: str) -> None:
        """Say once that the node serves. Raises StartFailed where no model can be served, and none ever was."""
        said = offered = False
        while True:
            entries, offered = self._models.entries, offered or bool(self._models.offered)
            if not offered and entries and all(entry.failure is not None for entry in entries):
                raise _nothing_left(self._models)
            if not said and self._offering.settled:
                said = True
                names = ", ".join(model.name for model in self._models.offered)
                print(f"waypost node {self._key.public} serves {names or 'nothing yet'} on {url}/v1", flush=True)
            await self._changed.wait()
            self._changed.clear()

    def _set_live(self, config: NodeConfig) -> None:
        """What a running node takes over of new options, beside its models."""
        self._config = config
        self._api.waits = _waits(config)
        self._pool.limits = _pool_limits(config)
        self._residency.limit(budget_of(config, self._hardware), config.hold_s)
        logging.getLogger().setLevel(config.log_level.upper())

    async def _drain(self) -> None:
        """Take no more, tell the boards, let what runs end; all of it cut short by a second signal.

        Refusals come first: a gateway that asks once more is sent elsewhere by one, and loses nothing. The boards are
        told at once too, and given time even where nothing runs.
        """
        log.info("draining for at most %.0f s; a second signal stops at once", self._config.drain_s)
        wanted = [asyncio.create_task(self._pool.drain(self._config.drain_s))]
        if self._advertiser is not None:
            wanted.append(asyncio.create_task(self._retire(self._advertiser)))
        halted = asyncio.create_task(self._halt_asked.wait())
        drained = asyncio.gather(*wanted, return_exceptions=True)  # if one fails, the other goes on
        await asyncio.wait((drained, halted), return_when=asyncio.FIRST_COMPLETED)
        for waited in (drained, halted):
            waited.cancel()
        await asyncio.gather(drained, halted, return_exceptions=True)
        for task in wanted:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("the drain failed: %s", error)

    async def _retire(self, advertiser: Advertiser) -> bool:
        await advertiser.retire(_RETIRE_S)
        return True

    async def _end(self, *tasks: asyncio.Task[object]) -> None:
        self._pool.send_away()
        self._stop.set()
        serving, *others = tasks
        await asyncio.gather(serving, return_exceptions=True)
        if self._halt_asked.is_set():
            self._halt()  # an engine may have come since
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _first(group: BaseExceptionGroup[StartFailed]) -> StartFailed:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _nothing_left(models: Models) -> StartFailed:
    return StartFailed("no model can be served: " + "; ".join(models.failed.values()))


def _pool_limits(config: NodeConfig) -> PoolLimits:
    return PoolLimits(config.queue_s, config.ready_s, config.queue)


def _waits(config: NodeConfig) -> Waits:
    return Waits(config.ready_s, config.cold_s, config.keepalive_s, config.quiet_s)
