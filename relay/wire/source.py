"""An upstream's answer as it arrives. What has come and is not asked for yet is held, and not much of it.

Not here: the connection (upstream), and what the answer means (relay.answer).
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from relay.errors import Reset
from relay.wire.flow import Sink, unheeded
from relay.wire.heads import media_type
from relay.wire.reading import NO_FIELDS, Fields

if TYPE_CHECKING:
    from relay.wire.upstream import Upstream

_HELD_BYTES = 64 * 1024


class Arriving:
    """A `Source` on a connection of ours."""

    __slots__ = (
        "_error",
        "_gap_s",
        "_held",
        "_held_bytes",
        "_line",
        "_sink",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, line: Upstream) -> None:
        self.status = 0  # until the head is there
        self.headers = NO_FIELDS
        self._line: Upstream | None = line  # as long as more is to come
        self._error: BaseException | None = None
        self._sink: Sink | None = None  # while the answer flows
        self._gap_s = inf  # for that
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = "awaited" if not self.status else "broken" if self._error else "coming" if self._line else "all there"
        return f"<Arriving {self.status} {state}, {self._held_bytes} bytes held>"

    @property
    def content_type(self) -> str:
        return media_type(self.headers.get("content-type") or "") or "application/octet-stream"

    @property
    def length(self) -> int | None:
        length = self.headers.get("content-length")
        return int(length) if length is not None else None

    @property
    def ended(self) -> bool:
        return self._line is None and not self._held and self._error is None

    async def head(self) -> None:
        """Until that is there. Raises what there is instead."""
        await self._wake()
        if self._error is not None and not self.status:
            raise self._error

    async def next(self, limit_s: float) -> bytes:
        while not self._held:
            if self._error is not None:
                raise self._error
            if self._line is None:
                return b""
            self._line.wait(limit_s)
            try:
                await self._wake()
            finally:
                if self._line is not None:
                    self._line.rest()
        return self._taken()

    async def flow(self, sink: Sink, gap_s: float) -> None:
        self._gap_s = gap_s
        line = await self._catch_up(sink)
        if line is None:
            return
        self._sink = sink
        line.splice(sink, self._gap_s)
        try:
            await self._wake()
        finally:
            self._part()
            if self._line is not None:
                line.unsplice(self.hold)
        if self._error is not None:
            raise self._error

    def hasten(self, gap_s: float) -> None:
        self._gap_s = min(gap_s, self._gap_s)
        if self._line is not None and self._sink is not None:
            self._line.hasten(gap_s)

    def close(self) -> None:
        if self._line is not None:
            self._line.drop()
            self.fail(_closed())
        elif self._error is not None:
            self._error = _closed()  # the other one's traceback leads here, once it was raised

    def begin(self, status: int, headers: Fields, first: bytes) -> None:
        """For the connection: the head is there, and the first of the payload, if any."""
        self.status = status
        self.headers = headers
        if first:
            self.hold(first)
        else:
            self._settle()

    def hold(self, piece: bytes) -> None:
        """For the connection: payload that nobody waits for, or that wakes whoever does."""
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > _HELD_BYTES and self._line is not None:
            self._line.pause()
        self._settle()

    def finish(self) -> None:
        """For the connection: all has come."""
        self._part()
        self._line = None
        self._settle()

    def fail(self, error: BaseException) -> None:
        """For the connection: what came is all there will be."""
        self._part()
        self._line = None
        self._error = error
        self._settle()

    async def _catch_up(self, sink: Sink) -> Upstream | None:
        """Bring the sink what is held, until it has room and nothing is; the connection, if more is to come."""
        while True:
            if self._held:
                sink.write(self._taken())
            if self._line is None:
                break
            await sink.room()
            if not self._held:
                break
        if self._error is not None:
            raise self._error
        return self._line

    def _taken(self) -> bytes:
        held = self._held
        piece = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self._held_bytes = 0
        if self._line is not None:
            self._line.resume()
        return piece

    async def _wake(self) -> None:
        """Until the head is there, or something is held, or the end."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _part(self) -> None:
        """The sink no longer pauses a connection that may be another answer's at any time now."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.on_full = sink.on_room = unheeded

    def _settle(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _closed() -> Reset:
    return Reset("The answer was closed.", code="upstream_broken")
