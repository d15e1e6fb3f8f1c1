"""A gateway is ready when it can route: once the nodes that it has read of have had time to prove themselves.

Whoever sends it requests by its health would otherwise have some refused at each start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.held_node import Held, held_node
from tests.gateway.scene import chat, new_scene
from tests.programs import Program, free_port, running
from tests.stack import Stack

_UP_S = 60.0


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    """It proves its key when the test says so."""
    async with held_node() as made:
        made.proves.clear()
        yield made
        made.proves.set()


@pytest.fixture
async def stack(tmp_path: Path, node: Held) -> Stack:
    made, operator = new_scene(tmp_path)
    await operator.post(operator.sign(node.key, node.url, "m"))
    return made


@asynccontextmanager
async def _started(stack: Stack, *options: str) -> AsyncIterator[Program]:
    stack.gateway_url = f"http://127.0.0.1:{free_port()}"
    words = ["--listen", stack.gateway_url.removeprefix("http://"), "--registry", stack.registry, "--trust", "any"]
    words += ["--allow-private", "--open", "--state", str(stack.folder), *options]
    async with running(["-m", "waypost", "gateway", "serve", *words], stack.folder / "gateway.txt") as program:
        yield program


async def _first_ready(session: aiohttp.ClientSession, stack: Stack) -> dict[str, Any]:
    """What it says of itself when it says for the first time that it is ready."""
    async with asyncio.timeout(_UP_S):
        while True:
            status, health = await _health(session, stack)
            if status == 200:
                return health


async def _health(session: aiohttp.ClientSession, stack: Stack) -> tuple[int, dict[str, Any]]:
    try:
        async with session.get(f"{stack.gateway_url}/health") as answer:
            return answer.status, await answer.json()
    except aiohttp.ClientError:  # it does not listen yet
        await asyncio.sleep(0.01)
        return 0, {}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_first_request_after_it_says_that_it_is_ready_is_answered(
    stack: Stack, node: Held, session: aiohttp.ClientSession, workers: str
) -> None:
    for start in ("by the registry", "by what it remembers"):
        node.proves.clear()
        node.asked.clear()
        async with _started(stack, "--workers", workers) as program:
            await asyncio.wait_for(node.asked.wait(), _UP_S)
            assert (await _health(session, stack))[0] != 200, start
            node.proves.set()
            assert (await _first_ready(session, stack))["proven"] == 1, start
            assert (await chat(session, stack, "m"))[0] == 200
            assert await program.stop() == 0


async def test_a_node_that_never_answers_does_not_keep_it_from_being_ready(
    stack: Stack, session: aiohttp.ClientSession
) -> None:
    async with _started(stack):
        health = await _first_ready(session, stack)
        assert (health["nodes"], health["proven"]) == (1, 0)


async def test_nobody_to_ask_keeps_it_from_nothing(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    made, operator = new_scene(tmp_path)
    await operator.post()
    async with _started(made):
        assert (await _first_ready(session, made))["nodes"] == 0
