"""What the tests of the EVM board share: short waits, the misbehaving host, and reading a few postings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from registry.evm import EvmBackend
from registry.evm.limits import Limits
from tests.programs import running, until

Opener = Callable[..., EvmBackend]
SHORT = Limits(connect_s=2.0, request_s=1.0, poll_s=0.05, reread_s=0.2, receipt_s=0.5, bump_s=0.0)
PATIENT = Limits(connect_s=2.0, request_s=10.0, poll_s=0.05, reread_s=0.2, receipt_s=30.0, bump_s=0.0)
LIMIT_S = 90


class Host:
    """A running proxy: `url` is its own, `behave` sets how it misbehaves, `calls` counts what it was asked since."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def behave(self, **mood: Any) -> None:
        async with self._session.post(f"{self.url}/control", json=mood) as response:
            assert response.status == 200, await response.text()

    async def calls(self) -> dict[str, int]:
        async with self._session.get(f"{self.url}/control") as response:
            counted: dict[str, int] = (await response.json())["calls"]
            return counted

    async def called(self, method: str, times: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.calls()).get(method, 0) < times:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def proxy(chain: str, folder: Path) -> AsyncIterator[Host]:
    async with (
        running(("-m", "tests.fakes.rpc_proxy", chain), folder / "proxy.txt") as program,
        aiohttp.ClientSession() as session,
    ):
        await until(lambda: "\n" in program.output(), program.output, limit_s=LIMIT_S)
        yield Host(program.output().splitlines()[0], session)


async def first(watching: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(watching), LIMIT_S)
