"""The engine of `embed_engine.py`, running, and what a test can learn of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.programs import Program, running


@dataclass
class External:
    """Where it is."""

    url: str
    program: Program

    async def seen(self) -> dict[str, Any]:
        """`asked`: method and target of each request; `open`: how many have not ended; `sent`: bytes of floods."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/seen") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def asked(self) -> list[str]:
        found: list[str] = (await self.seen())["asked"]
        return found

    async def has_open(self, count: int) -> None:
        """Wait until so many requests have not ended."""
        async with asyncio.timeout(90):
            while (await self.seen())["open"] != count:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.02)

    async def is_held_up(self) -> None:
        """Wait until a flood has begun, and nobody takes more of it for a while."""
        sent, same = 0, 0
        async with asyncio.timeout(90):
            while same < 5:
                before, sent = sent, (await self.seen())["sent"]
                same = same + 1 if before == sent > 0 else 0
                await asyncio.sleep(0.05)
        assert (await self.seen())["open"] == 1, "it has not ended"


@contextlib.asynccontextmanager
async def external(folder: Path) -> AsyncIterator[External]:
    """The engine, listening."""
    async with running([str(Path(__file__).with_name("embed_engine.py"))], folder / "engine.txt") as program:
        port = re.search(r"port=(\d+)\.", await program.saw("."))
        assert port is not None
        yield External(f"http://127.0.0.1:{port[1]}", program)
