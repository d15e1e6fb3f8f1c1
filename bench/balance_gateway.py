"""A gateway of one process that chooses nodes by a policy of bench.balance.

All else is `waypost gateway serve`'s, wired as it is there. Not here: the policies (balance_policies).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import uvloop

from bench.balance_policies import POLICIES
from gateway.challenge import Prover
from gateway.config import GatewayConfig
from gateway.refresh import Follower
from gateway.snapshot import Snapshot
from gateway.workers.plane import DataPlane, answer, outward
from registry.backend import open_backend
from registry.keys import NodeKey
from registry.trust import Policy, Trust
from relay.options import parse_listen


def main() -> None:
    policy, listen, registry, trust, key, state = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    config = GatewayConfig(
        listen=listen, registry=(registry,), trust=(trust,), allow_private=True, open=True, state=Path(state)
    )
    uvloop.run(_serve(config, policy, NodeKey.load(Path(key))))


async def _serve(config: GatewayConfig, policy: str, key: NodeKey) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    plane = DataPlane(config, key, balance=POLICIES[policy]())
    backends = [open_backend(url) for url in config.registry]
    async with outward(config) as session:
        prover = Prover(session, key, time.time)
        trust = Trust(Policy.parse(config.trust, config.allow_private))
        snapshot = Snapshot(config.state, config.registry, config.listen)
        follower = Follower(backends, trust, prover, session, snapshot, {}, time.time, plane.forget)
        following = asyncio.create_task(follower.run())
        try:
            async with plane.gateway(session, follower, prover) as made:
                await answer(made, parse_listen(config.listen), stop, lambda host, port: None, None)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await prover.close()
            for backend in backends:
                await backend.close()


if __name__ == "__main__":
    main()
