"""A real gateway before nodes of few slots, and many callers who press."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from gateway.config import KeyNewConfig
from gateway.keys import run_new
from tests.gateway.adverts import offer
from tests.gateway.crew import metrics
from tests.gateway.scene import CHAT, new_scene
from tests.gateway.slotted_node import Slotted, slotted_node
from tests.stack import Stack, serve_gateway

IDLE = (
    "waypost_gateway_in_flight", "waypost_gateway_admitted", "waypost_gateway_queue_waiting",
    "waypost_gateway_limited_in_flight",
)  # fmt: skip


@dataclass
class Crowd:
    """`answers` are (caller, status, headers, body), as they came."""

    stack: Stack
    nodes: list[Slotted]
    session: aiohttp.ClientSession
    keys: dict[str, str]
    answers: list[tuple[str, int, Any, Any]] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def served(self) -> list[str]:
        return [caller for node in self.nodes for caller in node.served]

    @property
    def running(self) -> int:
        return sum(len(node.running) for node in self.nodes)

    def asks(self, caller: str, **more: Any) -> asyncio.Task[None]:
        """One request, whose answer will stand in `answers`."""
        task = asyncio.create_task(self._ask(caller, more))
        self.tasks.append(task)
        return task

    async def _ask(self, caller: str, more: dict[str, Any]) -> None:
        body = {**CHAT, "model": "m", "user": caller, **more}
        headers = {"Authorization": f"Bearer {self.keys[caller]}"} if caller in self.keys else {}
        async with self.session.post(f"{self.stack.base_url}/chat/completions", json=body, headers=headers) as response:
            self.answers.append((caller, response.status, response.headers, await response.read()))

    async def count(self, name: str) -> float:
        return (await metrics(self.session, self.stack)).get(f"waypost_gateway_{name}", 0.0)

    async def has(self, name: str, value: float) -> None:
        """Wait until the gateway says so."""
        async with asyncio.timeout(90):
            while await self.count(name) != value:  # noqa: ASYNC110 - it is another process that says so
                await asyncio.sleep(0.02)

    async def all_answered(self) -> None:
        """Slots fall free until nobody waits any more."""
        while not all(task.done() for task in self.tasks):
            for node in self.nodes:
                node.release(len(node.running))
            await asyncio.sleep(0.02)
        await asyncio.gather(*self.tasks)


@contextlib.asynccontextmanager
async def crowd(
    folder: Path, *options: str, slots: Sequence[int] = (4,), queue: int = 8, callers: dict[str, dict[str, int]]
) -> AsyncIterator[Crowd]:
    """Each of `callers` has a key, with these limits. In the end nothing is in flight, waits, or is counted."""
    stack, operator = new_scene(folder)
    async with AsyncExitStack() as exits:
        nodes = [await exits.enter_async_context(slotted_node(each, queue)) for each in slots]
        for node in nodes:
            made = offer("m", parallel=node.slots)
            await operator.post(operator.sign(node.key, node.url, offers=[made]))
        session = await exits.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        keys = await asyncio.to_thread(_keys, folder, callers)
        access = ("--api-keys", str(folder / "keys.json")) if callers else ("--open",)
        await exits.enter_async_context(serve_gateway(stack, (*access, *options), proven=len(nodes)))
        made_crowd = Crowd(stack, nodes, session, keys)
        yield made_crowd
        await made_crowd.all_answered()
        for name in IDLE:
            await made_crowd.has(name.removeprefix("waypost_gateway_"), 0)


def _keys(folder: Path, callers: dict[str, dict[str, int]]) -> dict[str, str]:
    found = {}
    for name, limits in callers.items():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            run_new(KeyNewConfig(name=name, api_keys=folder / "keys.json", **limits))
        found[name] = said.getvalue().strip()
    return found


def error_of(answer: tuple[str, int, Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(answer[3])["error"]
    return found
