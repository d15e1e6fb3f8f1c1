"""`waypost node serve`: the one place where the node's parts are wired together, started and stopped.

The first SIGTERM or SIGINT drains, the second stops at once. Not here: what is served under which route (api).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack

from node.access import Access, AccessError
from node.advertiser import Advertiser, Identity
from node.api import Api
from node.config import NodeConfig
from node.delegation import DelegationFile
from node.engines.engine import EngineError
from node.hardware import Hardware, detect
from node.lock import AlreadyRuns, sole_holder
from node.metrics import Metrics
from node.models import Models
from node.opening import open_models
from node.pictures import Pictures
from node.pool import Pool, PoolLimits
from node.proxying import Proxy
from node.runtime import runtime_folder
from node.vm import aleph_item_hash
from node.wanted import Place
from node.wellknown import WellKnown
from registry.advert import Refused
from registry.backend import open_backend
from registry.keys import KeyFileError, NodeKey, Wallet
from registry.urls import check_site, parse_url
from relay.answer import Limits
from relay.call import BodyLimits
from relay.options import parse_listen
from relay.serving import serve

log = logging.getLogger("waypost.node")

_RETIRE_S = 10.0
_LINGER_S = 1.0  # what still runs by then has had its drain_s


class StartFailed(Exception):
    """The node cannot run; one line with the fix."""


def run(config: NodeConfig) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        asyncio.run(_serve(config))
    except (StartFailed, AlreadyRuns, KeyFileError, AccessError, EngineError, Refused, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: NodeConfig) -> None:
    _check(config)
    key = NodeKey.load_or_create(config.node_key or config.state / "node.key")
    access = Access(config.access, key.public, time.time)
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_holder(config.state, key.public))
        try:
            runtime = stack.enter_context(runtime_folder(os.environ.get("XDG_RUNTIME_DIR")))
        except OSError as error:
            raise StartFailed(str(error)) from error
        hardware = await detect()
        advertiser = await _advertiser(config, key, hardware, stack)
        place = Place(hardware, runtime, advertiser.poke if advertiser else lambda: None)
        await Agent(config, key, access, place, advertiser).run()


def _check(config: NodeConfig) -> None:
    """What can be known to be wrong before anything starts."""
    if config.public_url is not None:
        _check_url(config.public_url)
    try:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartFailed(f"--state {config.state} cannot be made ({error.strerror})") from error


def _check_url(url: str) -> None:
    """Refuse what no reader takes, and warn of what few do."""
    site = parse_url(url)
    check_site(site, allow_private=True)
    try:
        check_site(site, allow_private=False)
    except Refused as refused:
        log.warning("--public-url %s: only gateways with --allow-private will come here (%s)", url, refused.detail)


async def _advertiser(config: NodeConfig, key: NodeKey, hardware: Hardware, stack: AsyncExitStack) -> Advertiser | None:
    if not config.registry or config.public_url is None:
        return None
    delegate = Wallet.load_or_create(config.delegate_key or config.state / "delegate.key")
    path = config.delegation or config.state / "delegation.json"
    payer = None if config.payer_key is None else Wallet.load(config.payer_key)
    backends = [open_backend(url, author=delegate, payer=payer) for url in config.registry]
    for backend in backends:
        stack.push_async_callback(backend.close)
    vm_hash = config.vm_hash or aleph_item_hash(socket.gethostname())
    who = Identity(key, delegate, config.public_url, hardware, config.region, vm_hash, config.advert_life_s)
    mandate = DelegationFile(path, delegate.address, key.public, config.public_url, time.time, config.registry)
    return Advertiser(who, mandate, backends, config.state, time.time)


class Agent:
    """A running node. It owns the tasks: the server, the engines, the advertiser."""

    def __init__(
        self, config: NodeConfig, key: NodeKey, access: Access, place: Place, advertiser: Advertiser | None
    ) -> None:
        self._config = config
        self._key = key
        self._place = place
        self._advertiser = advertiser
        self._metrics = Metrics()
        well_known = WellKnown(key, config.public_url, lambda: advertiser.current if advertiser else None)
        limits = BodyLimits(config.body_limit_bytes, config.upload_limit_bytes)
        self._pictures = Pictures(place.runtime / "pictures", lambda: config.public_url or self._url)
        waits = Limits(head_s=config.head_s, gap_s=config.gap_s)
        proxy = Proxy(access, lambda: self._api.ready(), limits, waits)
        further = [*well_known.routes(), *self._pictures.routes(), *proxy.routes()]
        self._api = Api(key, access, further, self._metrics, advertiser, limits)
        if advertiser:
            self._metrics.follow_boards(lambda: advertiser.standings)
        self._models: Models | None = None
        self._pool: Pool | None = None
        self._url = ""
        self._stop = asyncio.Event()
        self._drain_asked = asyncio.Event()
        self._halt_asked = asyncio.Event()

    async def run(self) -> None:
        """Serve until told to stop. Raises StartFailed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        bound: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(self._listen(bound))
        await asyncio.wait((serving, bound), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        working = asyncio.create_task(self._work(bound.result()))
        asked = asyncio.create_task(self._drain_asked.wait())
        try:
            await asyncio.wait((serving, working, asked), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            await self._drain()
        finally:
            await self._end(serving, working, asked)

    def _on_signal(self) -> None:
        if self._drain_asked.is_set():
            self._halt_asked.set()
        self._drain_asked.set()

    async def _listen(self, bound: asyncio.Future[str]) -> None:
        host, port = parse_listen(self._config.listen)

        def announce(bound_host: str, bound_port: int) -> None:
            shown = f"[{bound_host}]" if ":" in bound_host else bound_host
            bound.set_result(f"http://{shown}:{bound_port}")

        try:
            await serve(self._api.app(), host, port, stop=self._stop, on_ready=announce, linger_s=_LINGER_S)
        except OSError as error:
            raise StartFailed(
                f"cannot listen on {self._config.listen} ({error.strerror}); choose another --listen"
            ) from error

    async def _work(self, url: str) -> None:
        """Open the models, and keep their engines and the advert up until cancelled."""
        self._url = url
        models = await open_models(self._config, self._place, self._pictures)
        if not models.served:
            raise _nothing_left(models)
        limits = PoolLimits(self._config.queue_s, self._config.ready_s, self._config.queue)
        self._models, self._pool = models, Pool((model.engine for model in models.served), limits)
        self._metrics.follow(models.served, self._pool)
        self._api.begin(models, self._pool)
        async with asyncio.TaskGroup() as group:
            for model in models.served:
                group.create_task(model.engine.run())
            advertising = group.create_task(self._advertiser.run(models.served)) if self._advertiser else None
            await self._announce(url, models)
            if not models.served and advertising is not None:
                advertising.cancel()
        raise _nothing_left(models)  # else the engines run on

    async def _announce(self, url: str, models: Models) -> None:
        for model in models.served:
            await model.engine.life.tried()
        if not models.served:
            return
        ready = ", ".join(model.name for model in models.served if model.ready)
        print(f"waypost node {self._key.public} serves {ready or 'nothing yet'} on {url}/v1", flush=True)

    async def _drain(self) -> None:
        """Take no more, tell the boards, let what runs end; all of it cut short by a second signal."""
        if self._pool is None:
            return
        log.info("draining for at most %.0f s; a second signal stops at once", self._config.drain_s)
        wanted = [asyncio.create_task(self._pool.drain(self._config.drain_s))]
        if self._advertiser is not None:
            wanted.append(asyncio.create_task(self._retire(self._advertiser)))
        halted = asyncio.create_task(self._halt_asked.wait())
        drained = asyncio.gather(*wanted)
        await asyncio.wait((drained, halted), return_when=asyncio.FIRST_COMPLETED)
        for waited in (drained, halted):
            waited.cancel()
        (ended, _) = await asyncio.gather(drained, halted, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("the drain failed: %s", ended)

    async def _retire(self, advertiser: Advertiser) -> bool:
        await advertiser.retire(_RETIRE_S)
        return True

    async def _end(self, *tasks: asyncio.Task[object]) -> None:
        self._stop.set()
        if self._halt_asked.is_set() and self._models is not None:
            for model in self._models.served:
                model.engine.life.kill()
        serving, *others = tasks
        await asyncio.gather(serving, return_exceptions=True)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _nothing_left(models: Models) -> StartFailed:
    return StartFailed("no model can be served: " + "; ".join(models.failed.values()))
