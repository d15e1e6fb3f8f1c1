"""The link to another fake node: what is said to it arrives in order, or is lost when it is away."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp

_LIMIT = aiohttp.ClientTimeout(total=10)


class Peer:
    """Owns the queue to one node and the task that empties it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    def send(self, what: dict[str, Any]) -> None:
        self._queue.put_nowait(what)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=_LIMIT) as session:
            while True:
                what = await self._queue.get()
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.post(f"{self._url}/_p2p", json=what) as response:
                        await response.read()
