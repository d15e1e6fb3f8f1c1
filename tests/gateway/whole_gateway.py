"""A gateway with all its parts in the test's own process, over boards that the test makes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from gateway.api import Gateway
from gateway.attempts import Attempts
from gateway.balance import Balance
from gateway.challenge import Prover
from gateway.config import GatewayConfig
from gateway.failover import Failover
from gateway.keys import KeyRing
from gateway.limits import LimitsOf
from gateway.metrics import Metrics
from gateway.proxying import Proxy
from gateway.refresh import Follower
from gateway.snapshot import Snapshot
from gateway.tokens import Tokens
from registry.backend import Backend
from registry.keys import NodeKey
from registry.trust import Policy, Trust
from relay.call import BodyLimits
from relay.serving import PACE, serve
from relay.wire.server import Pace
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.gateway.prover import client


class Clock:
    """The real time, and what the test adds to it (seconds)."""

    ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s


@dataclass
class Whole:
    """Where it is and what it is made of."""

    url: str
    follower: Follower
    prover: Prover
    session: aiohttp.ClientSession
    clock: Clock


@contextlib.asynccontextmanager
async def whole_gateway(
    folder: Path,
    backends: Sequence[Backend],
    trust: tuple[str, ...],
    *,
    keys: Path | None = None,
    pace: Pace = PACE,
    queue_s: float = 0.0,
) -> AsyncIterator[Whole]:
    """The gateway, serving; private addresses are allowed."""
    config = GatewayConfig(registry=("memory://",), trust=trust, allow_private=True, open=True, state=folder,
        connect_s=5, head_s=5, first_token_s=5, gap_s=5, queue_s=queue_s,
    )  # fmt: skip
    key, metrics, balance = NodeKey.new(), Metrics(), Balance()
    bound, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    async with client() as session:
        clock = Clock()
        prover = Prover(session, key, clock.now)
        follower = Follower(
            backends, Trust(Policy.parse(trust, True)), prover, session, Snapshot(folder, (), "here"), {}, clock.now,
            balance.forget,
        )  # fmt: skip
        limits, tokens, ring = LimitsOf(config), Tokens(key), KeyRing(keys)
        upstreams = Upstreams(None, Watch())
        attempts = Attempts(balance, lambda _: None)
        failover = Failover(upstreams, tokens, limits)
        proxy = Proxy(ring, session, attempts, tokens, BodyLimits(), limits)
        gateway = Gateway(config, ring, follower, prover, failover, attempts, limits, proxy, metrics)
        metrics.registries(follower.registries)
        ready = lambda _, port: bound.set_result(port)  # noqa: E731
        tasks = [
            asyncio.create_task(follower.run()),
            asyncio.create_task(
                serve(
                    gateway.app(), "127.0.0.1", 0, api=gateway.api(), stop=stop, on_ready=ready, linger_s=0, pace=pace
                )
            ),
        ]
        try:
            url = f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}"
            yield Whole(url, follower, prover, session, clock)
        finally:
            stop.set()
            await tasks[1]
            tasks[0].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await prover.close()
            upstreams.close()
