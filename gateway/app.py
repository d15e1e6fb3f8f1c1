"""`waypost gateway serve`: the one place where the gateway's parts are wired together, started and stopped.

The first SIGTERM or SIGINT drains, the second stops at once. Not here: what is served under which route (api).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.addresses import GuardedResolver
from gateway.api import Gateway
from gateway.attempts import Attempts
from gateway.balance import Balance
from gateway.challenge import Prover
from gateway.collecting import collect_seldom
from gateway.config import GatewayConfig
from gateway.failover import Failover
from gateway.keys import KeyFileError, KeyRing
from gateway.metrics import Metrics
from gateway.proxying import Proxy
from gateway.refresh import Follower
from gateway.snapshot import Snapshot
from gateway.tokens import Tokens
from registry.backend import open_backend
from registry.keys import KeyFileError as WalletFileError
from registry.keys import NodeKey
from registry.trust import Policy, Trust
from relay.answer import Limits
from relay.call import BodyLimits
from relay.http import make_connector, make_session
from relay.options import parse_listen
from relay.serving import serve

log = logging.getLogger("waypost.gateway")
_LINGER_S = 1.0  # what still runs by then has had its drain_s


def run(config: GatewayConfig) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        asyncio.run(_serve(config))
    except (KeyFileError, WalletFileError, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"waypost: cannot listen on {config.listen}: {error.strerror}; choose another --listen", file=sys.stderr)
        return 1
    return 0


async def _serve(config: GatewayConfig) -> None:
    host, port = parse_listen(config.listen)
    folder = _make_folder(config.state)
    key = NodeKey.load_or_create(config.gateway_key or folder / "gateway.key")
    metrics, balance, tokens = Metrics(), Balance(), Tokens(key)
    keys = KeyRing(config.api_keys)
    policy = Policy.parse(config.trust, config.allow_private)
    async with AsyncExitStack() as stack:
        connector = make_connector(GuardedResolver(config.allow_private))
        session = await stack.enter_async_context(make_session(connector, connect_s=config.connect_s))
        prover = Prover(session, key, time.time)
        stack.push_async_callback(prover.close)
        backends = [open_backend(url) for url in dict.fromkeys(config.registry)]
        for backend in backends:
            stack.push_async_callback(backend.close)

        def forget(node: str) -> None:
            balance.forget(node)
            tokens.forget(node)

        snapshot = Snapshot(folder, config.registry, config.listen)
        follower = Follower(backends, Trust(policy), prover, session, snapshot, config.pins(), time.time, forget)
        limits = Limits(config.connect_s, config.head_s, config.gap_s)
        attempts = Attempts(balance, lambda cause: metrics.failures.labels(cause).inc())
        failover = Failover(session, attempts, tokens, limits)
        body_limits = BodyLimits(config.body_limit_bytes, config.upload_limit_bytes)
        proxy = Proxy(keys, session, attempts, tokens, body_limits, limits)
        gateway = Gateway(config, keys, follower, prover, failover, proxy, metrics)
        metrics.gauge("in_flight", "Requests that are with a node now.", lambda: balance.in_flight)
        metrics.gauge("nodes_proven", "Nodes that may be routed to.", lambda: prover.proven_count)
        metrics.gauge("postings_refused", "Postings that were not believed.", lambda: follower.refused)
        metrics.registries(follower.registries)
        await _serve_and_follow(gateway, follower, host, port, config, key)


async def _serve_and_follow(
    gateway: Gateway, follower: Follower, host: str, port: int, config: GatewayConfig, key: NodeKey
) -> None:
    stop, told = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if told.is_set():
            stop.set()  # the second one stops at once
        told.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal)

    async def drain() -> None:
        await told.wait()
        log.info("draining for at most %.0f s; a second signal stops at once", config.drain_s)
        await gateway.drain(config.drain_s)
        stop.set()

    def announce(bound_host: str, bound_port: int) -> None:
        log.info("gateway %s serves on http://%s:%d/v1", key.public, bound_host, bound_port)

    following = asyncio.create_task(follower.run())
    draining = asyncio.create_task(drain())
    collecting = asyncio.create_task(collect_seldom(follower.ready))
    serving = asyncio.create_task(serve(gateway.app(), host, port, stop=stop, on_ready=announce, linger_s=_LINGER_S))
    try:
        done, _ = await asyncio.wait((following, serving), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a follower that failed is a bug, and must not leave a server with old truth
    finally:
        for task in (serving, following, draining, collecting):
            task.cancel()
        await asyncio.gather(serving, following, draining, collecting, return_exceptions=True)


def _make_folder(folder: Path) -> Path:
    """The state folder, made if missing. Raises ValueError, naming the option."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ValueError(f"--state {folder}: {error.strerror}; name a folder that can be written to") from error
    return folder
