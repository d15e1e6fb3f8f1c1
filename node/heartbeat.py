"""Comments in a stream whose engine says nothing yet, so that nobody on its way takes the connection for dead.

Proxies end connections that are silent for long (Aleph's after 300 s), and a long prompt is read in silence. Not here:
the comments while a model is being loaded (api), and silence once an answer has begun, which `gap_s` ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from relay.stream import EarlyStream

_TEXT = "no token yet"


class Heartbeat:
    """A timer, which costs next to nothing where the engine is quick: no task until it goes off."""

    def __init__(self, early: EarlyStream, every_s: float) -> None:
        self._early = early
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._telling: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(every_s, self._beat)

    def stop(self) -> None:
        """Nothing more is written, not even what was about to be."""
        self._timer.cancel()
        if self._telling is not None:
            self._telling.cancel()

    def _beat(self) -> None:
        if self._telling is None or self._telling.done():  # else the client takes nothing: it has enough to read
            self._telling = self._loop.create_task(self._tell())
        self._timer = self._loop.call_later(self._every_s, self._beat)

    async def _tell(self) -> None:
        try:
            await self._early.comment(_TEXT)
        except ConnectionError:
            self.stop()  # the client is gone: whoever answers it is told so too


@contextmanager
def beating(early: EarlyStream | None, every_s: float) -> Iterator[None]:
    """A comment each `every_s` seconds for as long as the context lasts; none for 0, or where there is no stream."""
    if early is None or not every_s:
        yield
        return
    heartbeat = Heartbeat(early, every_s)
    try:
        yield
    finally:
        heartbeat.stop()
