"""A node that is published as its operator does it: the node says which command to run, and that command is run.

Its engine is real, so what is asked of it is short.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway.scene import chat
from tests.node.agent import Agent, agent
from tests.programs import UP_LIMIT_S, free_port, waypost
from tests.stack import MODEL, Stack


@contextlib.asynccontextmanager
async def waiting_node(made: Stack, weights: Path, *registries: str, **options: Any) -> AsyncIterator[Agent]:
    """A node with its engine running, which waits for its operator."""
    url = f"http://127.0.0.1:{free_port()}"
    own = made.folder / "node"
    own.mkdir()
    table = {"listen": url.removeprefix("http://"), "public_url": url, "access": [made.gateway_key], **options}
    async with agent(own, {MODEL: {"uri": str(weights)}}, registry=list(registries), **table) as node:
        yield node


async def delegate(made: Stack, node: Agent) -> str:
    """Run the command that the node printed, and put the file where it said; returns the delegate's address."""
    said = await node.program.saw("waypost registry delegate")
    line = next(line for line in said.splitlines() if line.strip().startswith("waypost registry delegate"))
    words = shlex.split(line)[1:]
    words[words.index("FILE")] = "operator.key"
    await waypost(*words, cwd=made.folder)
    (made.folder / "delegation.json").rename(made.folder / "node" / "state" / "delegation.json")
    return words[2]


@contextlib.asynccontextmanager
async def published_node(made: Stack, weights: Path, *registries: str, **options: Any) -> AsyncIterator[Agent]:
    """A node that its operator has let publish."""
    async with waiting_node(made, weights, *registries, **options) as node:
        await delegate(made, node)
        yield node


async def answers(session: aiohttp.ClientSession, made: Stack, status: int, name: str = MODEL) -> float:
    """Wait until requests for the node's model get that status; returns how long that took (seconds)."""
    started = time.monotonic()
    while (last := (await chat(session, made, name, max_tokens=1))[0]) != status:
        assert time.monotonic() - started < UP_LIMIT_S, f"{name}: still {last}, not {status}"
    return time.monotonic() - started
