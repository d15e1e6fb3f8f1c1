"""A gateway before one strict upstream: with all its parts in the test's own process, or as it is run.

Not here: what is sent (raw_client), and what should become of it (rows).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.gateway.adverts import offer
from tests.gateway.memory_board import MemoryHost
from tests.gateway.scene import Operator, new_scene
from tests.gateway.whole_gateway import whole_gateway
from tests.programs import Program, until
from tests.stack import serve_gateway
from tests.wire.raw_client import RawClient
from tests.wire.rows import MODEL, PLANES, got, posted
from tests.wire.upstream import Upstream, upstream

_LISTENING, _NO_INODE = "0A", "0"  # as the kernel writes it
_OFFERS = [offer(MODEL, endpoints=["chat.completions", "proxy"], parallel=100)]  # none of these waits


@dataclass
class Scene:
    """Where the gateway is, the upstream behind it, and what it still has of clients (nothing, where all have left)."""

    host: str
    port: int
    upstream: Upstream
    left: Callable[[], object]
    program: Program | None = None  # where it is not this process

    def connect(self, receive_bytes: int = 0) -> contextlib.AbstractAsyncContextManager[RawClient]:
        return RawClient.connected(self.host, self.port, receive_bytes)

    async def assert_alive(self) -> None:
        """Fresh connections get good answers, and nothing is left of those that are gone."""
        for plane in PLANES:
            async with self.connect() as client:
                await client.send(posted(plane, "alive"))
                answer = await client.answer("POST")
                assert (answer.status, b"alive" in answer.body, answer.closes) == (200, True, False), answer
                await client.send(got())
                assert (await client.answer()).status == 200
        await self.calm()
        assert not self.upstream.broken, self.upstream.broken

    async def calm(self) -> None:
        """Wait until nothing is left that belongs to a connection."""
        await until(lambda: not self.left(), lambda: f"the end of {self.left()}")

    def reached(self) -> list[str]:
        """What has come to the upstream since it was last asked for, but for what `assert_alive` sends."""
        words = [word for word in self.upstream.words if word != "alive"]
        self.upstream.asked.clear()
        return words


@contextlib.asynccontextmanager
async def scene(folder: Path, **how: Any) -> AsyncIterator[Scene]:
    """The gateway in this process, ready. `how`: further arguments of `whole_gateway`."""
    host, operator = MemoryHost("memory://", []), Operator("")
    async with upstream() as node, whole_gateway(folder, [host], ("any",), **how) as whole:
        await host.publish(operator.sign(node.key, node.url, offers=_OFFERS).to_json())
        await until(lambda: whole.prover.proven_count == 1, lambda: "the upstream's proof")
        url = urlsplit(whole.url)
        idle = asyncio.all_tasks()
        tasks = lambda: asyncio.all_tasks() - idle - {asyncio.current_task()}  # noqa: E731
        yield Scene(str(url.hostname), int(url.port or 0), node, tasks)


@contextlib.asynccontextmanager
async def running_scene(folder: Path) -> AsyncIterator[Scene]:
    """The gateway as its command runs it."""
    stack, operator = new_scene(folder)
    async with upstream() as node:
        await operator.post(operator.sign(node.key, node.url, offers=_OFFERS))
        async with serve_gateway(stack, ("--open",), proven=1) as program:
            url = urlsplit(stack.gateway_url)
            port = int(url.port or 0)
            others = _open_at(port)
            yield Scene(str(url.hostname), port, node, lambda: _open_at(port) - others, program)


def _open_at(port: int) -> set[str]:
    """Where the connections to that port come from of which its process still has its end."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = (row for row in rows if int(row[1].partition(":")[2], 16) == port)
    return {row[2] for row in ends if row[3] != _LISTENING and row[9] != _NO_INODE}
