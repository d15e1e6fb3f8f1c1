"""What bench.balance measures: three nodes as their users start them, and a gateway for each policy, on this machine.

Not here: who talks with them (balance_chats).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from deploy import demo
from node.engines.llama import find_build
from tests.killing import scene as killing
from tests.programs import free_port, healthy, running

NODES, SLOTS = 3, 2
_MODEL = {"context": 2048, "parallel": SLOTS, "threads": 1}


class NotStarted(Exception):
    """What is to be measured does not run; the text says why."""


@dataclass(frozen=True)
class Scene:
    """Ports of the gateways by policy."""

    ports: Mapping[str, int]
    engine: str  # its version


@asynccontextmanager
async def scene(folder: Path, policies: Sequence[str]) -> AsyncIterator[Scene]:
    """All of it, ready, until the context ends. Raises NotStarted."""
    async with AsyncExitStack() as exits:
        try:
            crew = await exits.enter_async_context(killing.crew(folder, NODES, model=_MODEL, crossed=False))
            ports = {policy: await _gateway(exits, crew, policy) for policy in policies}
        except AssertionError as error:  # with the end of what the program wrote
            raise NotStarted(str(error)) from error
        except demo.NotInstalled as missing:
            raise NotStarted(f"{missing} is not set up; run make environment") from missing
        yield Scene(ports, (await find_build(None)).version)


async def _gateway(exits: AsyncExitStack, crew: killing.Crew, policy: str) -> int:
    port, state = free_port(), crew.folder / policy.replace(" ", "-")
    state.mkdir()
    told = dict(zip(crew.words[::2], crew.words[1::2], strict=True))
    words = ["-m", "bench.balance_gateway", policy, f"127.0.0.1:{port}"]
    words += [told["--registry"], told["--trust"], told["--gateway-key"], str(state)]
    program = await exits.enter_async_context(running(words, state / "log.txt"))
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}"
        await healthy(session, f"{url}/health", program, lambda health: health["proven"] >= NODES)
        found = killing.Scene(crew.hosts, port, program)
    for host in crew.hosts:
        await found.usable(host)
    return port
