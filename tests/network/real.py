"""A real node with its llama-server on a host of the network; it publishes itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from deploy import demo
from deploy.plan import toml
from registry.advert import Delegation
from registry.keys import NodeKey, Wallet
from registry.signing import sign_delegation
from tests.gateway.scene import Operator
from tests.network.hosts import Host, Network
from tests.network.scene import PORT

MODEL = demo.CHAT.name
_DELEGATION_S = 3600


@dataclass(frozen=True)
class RealNode:
    """Where it runs, and its node key."""

    host: Host
    key: str


@contextlib.asynccontextmanager
async def real_node(network: Network, folder: Path, name: str, operator: Operator) -> AsyncIterator[RealNode]:
    """A node that serves the demo's chat model and is on its way to be published."""
    own = folder / name
    own.mkdir()
    with network.host(name) as host:
        key, delegate = NodeKey.new(), Wallet.new()
        key.save(own / "node.key")
        delegate.save(own / "delegate.key")
        (own / "delegation.json").write_bytes(orjson.dumps(_delegated(operator.wallet, delegate, key)))
        place = f"{host.address}:{PORT}"
        options: dict[str, Any] = {"listen": place, "public_url": f"http://{place}", "state": str(own)}
        options |= {"registry": [operator.registry], "access": ["open"]}
        table = toml("node", options) + toml(f'node.models."{MODEL}"', demo.CHAT.options())
        (own / "waypost.toml").write_text(table)
        command = ("-m", "waypost", "node", "serve", "--config", str(own / "waypost.toml"))
        async with host.running(command, own / "log.txt") as program:
            await program.saw(" serves ")
            yield RealNode(host, key.public)


def _delegated(operator: Wallet, delegate: Wallet, key: NodeKey) -> dict[str, str]:
    now = int(time.time())
    delegation = Delegation(
        operator=operator.address,
        delegate=delegate.address,
        node=key.public,
        issued_at=now,
        expires_at=now + _DELEGATION_S,
        url_suffixes=None,
    )
    return sign_delegation(delegation, operator)
