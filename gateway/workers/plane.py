"""The data plane: what answers requests, wired together. One a process that serves.

What is believed and proven comes from outside: from the process's own follower, or from the parent of a worker. Not
here: starting and stopping (app, worker).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp

from gateway.addresses import GuardedResolver
from gateway.admission.admission import Admission
from gateway.admission.quotas import Quotas
from gateway.api import Gateway
from gateway.attempts import Attempts
from gateway.balance import Balance
from gateway.config import GatewayConfig
from gateway.failover import Failover
from gateway.keys import KeyRing
from gateway.limits import LimitsOf
from gateway.metrics import Metrics, Page
from gateway.probing import Probing
from gateway.proxying import Proxy
from gateway.tokens import Tokens
from gateway.workers.shared import Shared
from gateway.workers.truth import Proofs, Truth
from registry.keys import NodeKey
from relay.call import BodyLimits
from relay.http import make_connector, make_session
from relay.serving import serve
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch

__all__ = ["DataPlane", "answer", "outward"]

log = logging.getLogger("waypost.gateway")

_LINGER_S = 1.0  # what still runs by then has had its drain_s


class DataPlane:
    """Keys, names, balance, failover and relaying. Raises KeyFileError for a file of API keys that cannot be used."""

    def __init__(
        self,
        config: GatewayConfig,
        key: NodeKey,
        page: Page | None = None,
        shared: Shared | None = None,
        balance: Balance | None = None,
    ) -> None:
        self._config = config
        self._keys = KeyRing(config.api_keys)
        self._balance = balance or Balance()
        self._admission = Admission(self._balance, config.queue)
        self._quotas = Quotas(config.key_parallel, config.key_rpm, shared, shared)
        self._tokens = Tokens(key)
        self.metrics = Metrics(page)
        self.metrics.gauge("in_flight", "Requests that are with a node now.", lambda: self._balance.in_flight)
        self.metrics.gauge(
            "circuits_open", "Models on nodes that are not asked for now.", lambda: self._balance.open_circuits
        )
        self.metrics.admission(self._admission, self._quotas)

    def __repr__(self) -> str:
        return f"<DataPlane {self._balance!r}>"

    def forget(self, node: str) -> None:
        """That node is gone."""
        self._balance.forget(node)
        self._tokens.forget(node)

    @asynccontextmanager
    async def gateway(self, session: aiohttp.ClientSession, truth: Truth, proofs: Proofs) -> AsyncIterator[Gateway]:
        """What answers, over nodes that somebody else looks after, as long as the context lasts."""
        config, tokens = self._config, self._tokens
        limits = LimitsOf(config)
        body_limits = BodyLimits(config.body_limit_bytes, config.upload_limit_bytes)
        failures = self.metrics.failures
        attempts = Attempts(
            self._balance, lambda cause: failures.labels(cause).inc(), self.metrics.fired, self._admission
        )
        proxy = Proxy(self._keys, session, attempts, tokens, body_limits, limits, self._quotas)
        upstreams = Upstreams(GuardedResolver(config.allow_private), Watch())
        probing = asyncio.create_task(Probing(session, self._balance).run())
        probing.add_done_callback(_tell_of_a_crash)
        try:
            failover = Failover(upstreams, tokens, limits)
            yield Gateway(
                config, self._keys, truth, proofs, failover, attempts, limits, proxy, self.metrics, self._quotas
            )
        finally:
            self._admission.close()
            upstreams.close()
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)


def _tell_of_a_crash(probing: asyncio.Task[None]) -> None:
    """Requests are answered without probes too."""
    if not probing.cancelled() and (error := probing.exception()) is not None:
        log.error("nodes are not probed any more", exc_info=error)


@asynccontextmanager
async def outward(config: GatewayConfig) -> AsyncIterator[aiohttp.ClientSession]:
    """aiohttp's way to nodes, which goes only where this gateway may go."""
    connector = make_connector(GuardedResolver(config.allow_private))
    async with make_session(connector, connect_s=config.connect_s) as session:
        yield session


async def answer(
    gateway: Gateway,
    listen: tuple[str, int],
    stop: asyncio.Event,
    on_ready: Callable[[str, int], None],
    tls: ssl.SSLContext | None,
    sock: socket.socket | None = None,
) -> None:
    """Serve until `stop` is set, at an address, or on a socket that is bound already. Raises OSError."""
    app, api = gateway.app(), gateway.api()
    await serve(app, *listen, stop=stop, api=api, on_ready=on_ready, tls=tls, linger_s=_LINGER_S, sock=sock)
