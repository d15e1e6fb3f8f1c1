"""The requests that run, and the end of them all: a notice, in which they are still taken, then a drain.

Not here: what a drain is for, and who asks for it (app, workers).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from relay.errors import Unavailable


class Running:
    """Entered by each request for as long as it runs: one object for all, so that it costs next to nothing."""

    __slots__ = ("_count", "_idle", "_notice_s", "ending", "refusing")

    def __init__(self, notice_s: float = 0.0) -> None:
        self._notice_s = notice_s
        self._count = 0
        self._idle: asyncio.Event | None = None  # of whoever waits for it
        self.ending = False  # whoever asks for our health is told so
        self.refusing = False

    def __repr__(self) -> str:
        return f"<Running {self._count}{' refusing' if self.refusing else ' ending' if self.ending else ''}>"

    def __enter__(self) -> None:
        """Raises Unavailable once nothing more is taken."""
        if self.refusing:
            raise Unavailable("This gateway is shutting down.", code="draining", retry_after_s=1)
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if self._idle is not None and not self._count:
            self._idle.set()

    def end(self) -> None:
        """Be `ending` at once; and `refusing`, unless notice is given: that is for `drain` to await."""
        self.ending = True
        if not self._notice_s:
            self.refusing = True

    async def drain(self, limit_s: float) -> None:
        """The same; after the notice take no more, and return when what runs has ended, or `limit_s` later."""
        self.end()
        await asyncio.sleep(self._notice_s)
        self.refusing = True
        if not self._count:
            return
        self._idle = self._idle or asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
