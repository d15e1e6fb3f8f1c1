"""Real nodes for one operator, on any kind of registry that costs nothing; they let in the gateways of the test, and
whoever shows the test's own key.

Not here: a node's life (tests.killing.host), and the gateways.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.keys import NodeKey, Wallet
from tests.killing.host import Host, new_host
from tests.programs import waypost

OWN_KEY = "the-key-of-this-test"


@dataclass(frozen=True)
class Nodes:
    """`words` are what a gateway is told to serve them."""

    hosts: Sequence[Host]
    words: Sequence[str]


@contextlib.asynccontextmanager
async def nodes(
    folder: Path, count: int, model: Mapping[str, Any], *, registry: str = "", **options: Any
) -> AsyncIterator[Nodes]:
    """They run. `options` are the nodes' own. Without a registry there is a file for one."""
    made = await new_nodes(folder, count, model, registry=registry, **options)
    async with contextlib.AsyncExitStack() as exits:
        for host in made.hosts:
            exits.push_async_callback(host.stop)
        await asyncio.gather(*(host.start() for host in made.hosts))
        yield made


async def new_nodes(folder: Path, count: int, model: Mapping[str, Any], *, registry: str = "", **options: Any) -> Nodes:
    """The same, not started. Delegations last for weeks, whatever a test does with the clock."""
    operator, key = Wallet.new(), NodeKey.new()
    operator.save(folder / "operator.key")
    key.save(folder / "gateway.key")
    (folder / "own-keys").write_text(OWN_KEY + "\n")
    board = registry or f"sqlite:///{folder}/registry.db"
    told = {"registry": [board], "access": [key.public, f"keys:{folder}/own-keys"], **options}
    hosts = [new_host(folder / f"node{number + 1}", operator, told, model, None) for number in range(count)]
    await asyncio.gather(*(_delegate(folder, host, registry) for host in hosts))
    words = ["--registry", board, "--trust", operator.address, "--gateway-key", str(folder / "gateway.key")]
    return Nodes(hosts, words)


async def _delegate(folder: Path, host: Host, registry: str) -> None:
    """As an operator does it; a registry that asks leave of the operator is told who may post."""
    delegate = Wallet.load(host.folder / "delegate.key").address
    words = ["registry", "delegate", delegate, "--operator-key", "operator.key", "--node", host.key]
    words += ["--days", "30", *(["--registry", registry] if registry.startswith("aleph+") else [])]
    file = host.folder / "delegation.json"
    file.unlink()
    await waypost(*words, "--out", str(file), cwd=folder)
