"""The requests that run, and a drain that waits for them.

Not here: what a drain is for, and who asks for it (app, workers).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from relay.errors import Unavailable


class Running:
    """Entered by each request for as long as it runs: one object for all, so that it costs next to nothing."""

    __slots__ = ("_count", "_idle", "refusing")

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.refusing = False

    def __repr__(self) -> str:
        return f"<Running {self._count}{' refusing' if self.refusing else ''}>"

    def __enter__(self) -> None:
        """Raises Unavailable once nothing more is taken."""
        if self.refusing:
            raise Unavailable("This gateway is shutting down.", code="draining", retry_after_s=1)
        self._count += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def drain(self, limit_s: float) -> None:
        """Take no more, and return when what runs has ended, or after `limit_s`."""
        self.refusing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
