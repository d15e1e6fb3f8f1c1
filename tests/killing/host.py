"""A real node with its llama-server that can be killed at any moment, and started again as it was.

Not here: who asks it, and when it is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from deploy import demo
from deploy.plan import toml
from registry.advert import Delegation
from registry.keys import NodeKey, Wallet
from registry.signing import sign_delegation
from tests.killing.crossing import Crossing
from tests.programs import Program, free_port, healthy, running

MODEL = demo.CHAT.name
_DELEGATION_S = 86_400


@dataclass
class Host:
    """Keys, ports and options stay the same from one life to the next. `crossing` is where gateways reach it."""

    folder: Path
    key: str
    port: int
    crossing: Crossing | None = None
    program: Program | None = None
    _life: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def name(self) -> str:
        return self.folder.name

    async def start(self) -> None:
        """Returns once the model is loaded."""
        command = ("-m", "waypost", "node", "serve", "--config", str(self.folder / "waypost.toml"))
        program = self.program = await self._life.enter_async_context(running(command, self.folder / "log.txt"))
        async with aiohttp.ClientSession() as session:
            await healthy(session, f"http://127.0.0.1:{self.port}/health", program, _loaded)

    def kill(self) -> None:
        """SIGKILL to the groups of the agent and of its engine, at once: nothing of it says goodbye."""
        assert self.program is not None
        engines = Path(f"/proc/{self.program.pid}/task/{self.program.pid}/children").read_text().split()
        for group in (self.program.pid, *map(int, engines)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    async def start_again(self) -> None:
        """After `kill`."""
        assert self.program is not None
        await self.program.process.wait()
        await self._life.aclose()
        await self.start()

    async def stop(self) -> None:
        await self._life.aclose()
        if self.crossing is not None:
            await self.crossing.close()


def new_host(
    folder: Path, operator: Wallet, options: Mapping[str, Any], model: Mapping[str, Any], crossing: Crossing | None
) -> Host:
    """A node with keys and a delegation of its own, not started. Gateways reach it over the crossing, if any."""
    folder.mkdir()
    key, delegate = NodeKey.new(), Wallet.new()
    key.save(folder / "node.key")
    delegate.save(folder / "delegate.key")
    (folder / "delegation.json").write_bytes(orjson.dumps(_delegated(operator, delegate, key)))
    port = free_port() if crossing is None else crossing.to_port
    public_port = port if crossing is None else crossing.port
    listen, public_url = f"127.0.0.1:{port}", f"http://127.0.0.1:{public_port}"
    node = {"listen": listen, "public_url": public_url, "state": str(folder), **options}
    served = {**demo.CHAT.options(), **model}
    (folder / "waypost.toml").write_text(toml("node", node) + toml(f'node.models."{MODEL}"', served))
    return Host(folder, key.public, port, crossing)


def _delegated(operator: Wallet, delegate: Wallet, key: NodeKey) -> dict[str, str]:
    now = int(time.time())
    delegation = Delegation(
        operator=operator.address, delegate=delegate.address, node=key.public, issued_at=now,
        expires_at=now + _DELEGATION_S, url_suffixes=None,
    )  # fmt: skip
    return sign_delegation(delegation, operator)


def _loaded(health: Any) -> bool:
    return bool(health["models"][MODEL]["state"] == "ready")
