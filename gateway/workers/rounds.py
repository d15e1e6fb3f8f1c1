"""Work that many ask for at once, done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Rounds"]

_Found = TypeVar("_Found")


class Rounds(Generic[_Found]):
    """One round at a time. Whoever asks gets what the next one finds that begins after the asking."""

    def __init__(self, find: Callable[[], Awaitable[_Found]]) -> None:
        self._find = find
        self._running: asyncio.Task[_Found] | None = None
        self._next: asyncio.Task[_Found] | None = None

    def __repr__(self) -> str:
        return f"<Rounds running={self._running is not None} waiting={self._next is not None}>"

    async def ask(self) -> _Found:
        """Raises what the round raised. Whoever is cancelled leaves the round to the others."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """Nobody is waiting any more."""
        tasks = [task for task in (self._running, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _after(self, before: asyncio.Task[_Found] | None) -> _Found:
        if before is not None:
            await asyncio.wait((before,))
        self._running, self._next = self._next, None
        return await self._find()
