"""A connection as far as it is not HTTP: flow control both ways, and a limit on silence.

Not here: what is said on it (upstream).
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import cast

from relay.wire.watch import Watch


class Line(asyncio.Protocol):
    """A transport that is watched. Who receives bytes sets `_heard`: the time of it is taken at the next look."""

    __slots__ = ("_heard", "_limit_s", "_out", "_paused", "_since", "_transport", "_watch")

    def __init__(self, watch: Watch, limit_s: float) -> None:
        self._watch = watch
        self._transport: asyncio.Transport | None = None  # as long as it can be used
        self._out: asyncio.Future[None] | None = None  # while the peer takes no more
        self._paused = False
        self._heard = True  # something happened since the last look
        self._since = 0.0
        self._limit_s = limit_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._watch.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._close()

    def pause_writing(self) -> None:
        if self._out is None:
            self._out = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        out, self._out = self._out, None
        if out is not None and not out.done():
            out.set_result(None)

    def wait(self, limit_s: float) -> None:
        """From now on silence has this limit."""
        self._limit_s = limit_s
        self._heard = True

    def rest(self) -> None:
        """Nobody waits: silence has no limit."""
        self._limit_s = inf

    def pause(self) -> None:
        """Receive no more for now."""
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def look(self, now: float) -> None:
        if self._heard:
            self._heard = False
            self._since = now
        elif now - self._since > self._limit_s:
            self.overdue()

    def overdue(self) -> None:
        """The silence was too long."""
        raise NotImplementedError

    def _close(self) -> None:
        """At once: what was not sent yet stays unsent."""
        transport, self._transport = self._transport, None
        self._watch.discard(self)
        self.resume_writing()
        if transport is not None:
            transport.abort()
