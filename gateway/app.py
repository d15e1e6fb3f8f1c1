"""`waypost gateway serve`: the one place where the gateway's parts are wired together, started and stopped.

With one worker this process both follows the registries and serves; with several it follows, and they serve. The first
SIGTERM or SIGINT gives notice and drains, the second stops at once. Not here: what answers requests (workers.plane).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from gateway import certificate
from gateway.api import Gateway
from gateway.challenge import Prover
from gateway.collecting import collect_seldom
from gateway.config import GatewayConfig
from gateway.keys import KeyFileError, KeyRing
from gateway.metrics import Metrics
from gateway.refresh import Follower
from gateway.snapshot import Snapshot
from gateway.workers.counts import part
from gateway.workers.crew import Crew, Parts
from gateway.workers.member import Terms
from gateway.workers.news import News
from gateway.workers.plane import DataPlane, answer, outward
from gateway.workers.port import reserve
from gateway.workers.shared import Shared
from gateway.workers.source import Source
from registry.backend import open_backend
from registry.keys import KeyFileError as WalletFileError
from registry.keys import NodeKey
from registry.trust import Policy, Trust
from relay.options import parse_listen

log = logging.getLogger("waypost.gateway")


def run(config: GatewayConfig) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        uvloop.run(_serve(config))
    except (KeyFileError, WalletFileError, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"waypost: cannot listen on {config.listen}: {_why(error)}; choose another --listen", file=sys.stderr)
        return 1
    return 0


def _why(error: OSError) -> str | None:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror
    return os.strerror(error.errno)


async def _serve(config: GatewayConfig) -> None:
    folder = _make_folder(config.state)
    key = NodeKey.load_or_create(config.gateway_key or folder / "gateway.key")
    tls = certificate.load(config.tls_certificate) if config.tls_certificate else None
    told = _Told(config.notice_s, config.drain_s)
    if config.workers == 1:
        await _serve_alone(config, key, told, tls)
    else:
        await _serve_with_workers(config, key, told)


class _Told:
    """What signals ask for. `on_drain` is called by the first one, before the loop goes on to anything else."""

    def __init__(self, notice_s: float, drain_s: float) -> None:
        self.drain, self.stop = asyncio.Event(), asyncio.Event()
        self.on_drain: Callable[[], None] = lambda: None
        self._notice_s, self._drain_s = notice_s, drain_s
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, self._hear)

    def _hear(self) -> None:
        if self.drain.is_set():
            self.stop.set()  # the second one stops at once
        else:
            notice = f"taking requests for {self._notice_s:g} s more, then " if self._notice_s else ""
            log.info("%sdraining for at most %.0f s; a second signal stops at once", notice, self._drain_s)
            self.drain.set()
            self.on_drain()


@dataclass(frozen=True)
class _Control:
    """What keeps the truth: it follows the registries and has nodes prove themselves."""

    session: aiohttp.ClientSession
    prover: Prover
    follower: Follower

    def measure(self, metrics: Metrics) -> None:
        """Show in the metrics what is known here."""
        metrics.gauge("nodes_proven", "Nodes that may be routed to.", lambda: self.prover.proven_count)
        metrics.gauge("postings_refused", "Postings that were not believed.", lambda: self.follower.refused)
        metrics.registries(self.follower.registries)


@asynccontextmanager
async def _control(
    config: GatewayConfig, key: NodeKey, news: News, forget: Callable[[str], None]
) -> AsyncIterator[_Control]:
    policy = Policy.parse(config.trust, config.allow_private)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(outward(config))
        prover = Prover(session, key, time.time, news.changed)
        stack.push_async_callback(prover.close)
        backends = [open_backend(url) for url in dict.fromkeys(config.registry)]
        for backend in backends:
            stack.push_async_callback(backend.close)
        snapshot = Snapshot(config.state, config.registry, config.listen)
        trust = Trust(policy)
        follower = Follower(backends, trust, prover, session, snapshot, config.pins(), time.time, forget, news)
        yield _Control(session, prover, follower)


async def _serve_alone(config: GatewayConfig, key: NodeKey, told: _Told, tls: ssl.SSLContext | None) -> None:
    plane = DataPlane(config, key)

    def announce(host: str, port: int) -> None:
        log.info("gateway %s serves on %s://%s:%d/v1", key.public, config.scheme, host, port)

    async with _control(config, key, News(), plane.forget) as control:
        control.measure(plane.metrics)
        async with plane.gateway(control.session, control.follower, control.prover) as gateway:
            told.on_drain = gateway.refuse
            draining = asyncio.create_task(_drain(gateway, config, told))
            try:
                await _beside(control, answer(gateway, parse_listen(config.listen), told.stop, announce, tls))
            finally:
                draining.cancel()
                await asyncio.gather(draining, return_exceptions=True)


async def _drain(gateway: Gateway, config: GatewayConfig, told: _Told) -> None:
    await told.drain.wait()
    await gateway.drain(config.drain_s)
    told.stop.set()


async def _serve_with_workers(config: GatewayConfig, key: NodeKey, told: _Told) -> None:
    KeyRing(config.api_keys)  # a file that cannot be used is told of here, once
    with reserve(*parse_listen(config.listen)) as reserved:
        host, port = reserved.getsockname()[:2]
        shared = Shared.make(config.workers)
        secret = key.private.private_bytes_raw().hex()
        terms = Terms(config.model_dump_json(), secret, (reserved.family, host, port), shared)
        news, metrics = News(), Metrics()

        def announce() -> None:
            text = "gateway %s serves on %s://%s:%d/v1 with %d workers"
            log.info(text, key.public, config.scheme, host, port, config.workers)

        async with _control(config, key, news, lambda _: None) as control:
            control.measure(metrics)
            metrics.tasks()
            source = Source(control.follower, control.prover, time.time)
            crew = Crew(config.workers, Parts(terms, source, news, lambda: part(metrics.collect())), announce)
            await _beside(control, crew.run(told.drain, told.stop, config.notice_s, config.drain_s))


async def _beside(control: _Control, serving: Coroutine[Any, Any, None]) -> None:
    """Follow for as long as `serving` goes on. A follower that failed is a bug, and must not leave old truth served."""
    follower = control.follower
    tasks = [asyncio.create_task(work) for work in (follower.run(), serving, collect_seldom(follower.ready))]
    try:
        done, _ = await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _make_folder(folder: Path) -> Path:
    """The state folder, made if missing. Raises ValueError, naming the option."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ValueError(f"--state {folder}: {error.strerror}; name a folder that can be written to") from error
    return folder
