"""A client's transport: whether the client takes what it is sent, why nothing is read from it, and how it ends.

Not here: what is said on it (connection).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast

from relay.wire.hold import Hold

_NOTHING = Hold(0)
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Peer(asyncio.Protocol):
    """Who takes nothing for `taking_s` seconds is gone."""

    __slots__ = ("_full", "_held", "_loop", "_room", "_taken_at", "_taking_s", "_unsent", "transport")

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, taking_s: float) -> None:
        self._loop = loop
        self._taking_s = taking_s
        self._room: asyncio.Future[None] | None = None
        self._full = False  # the client takes nothing for now
        self._held = _NOTHING  # why nothing is read from it
        self._unsent = -1  # bytes that the client has not taken when that was last looked at
        self._taken_at = 0.0  # when they were last seen to be fewer, or more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._unsent = -1
        self._wake()

    def eof_received(self) -> None:
        """A client that closes its side has left: so nginx takes it, and so the transport is closed."""

    async def room(self) -> None:
        """Until the client takes bytes. Raises ConnectionError where it has left, or takes nothing for too long."""
        if self._full:
            self._room = self._loop.create_future()
            try:
                async with asyncio.timeout(self._taking_s):
                    await self._room
            except TimeoutError as error:
                self.transport.abort()
                raise ConnectionAbortedError("the client took nothing") from error
        if self.transport.is_closing():
            raise ConnectionResetError("the client has left")

    def pause(self, why: Hold) -> None:
        """Read nothing more from the client for now."""
        if not self._held and not self.transport.is_closing():
            self.transport.pause_reading()
        self._held |= why

    def read_on(self, why: Hold) -> None:
        """That is over."""
        if why in self._held:
            self._held &= ~why
            if not self._held and not self.transport.is_closing():
                self.transport.resume_reading()

    def read_all(self) -> None:
        """Whatever there was against it."""
        self._held = _NOTHING
        self.transport.resume_reading()

    def break_off(self, *, reset: bool) -> None:
        """End it at once. `reset`: where only that says it is no end."""
        sock = self.transport.get_extra_info("socket")
        if reset and sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.transport.abort()

    def close(self) -> None:
        """Once all is sent. asyncio's TLS cannot be told twice."""
        if not self.transport.is_closing():
            self.transport.close()

    def _look_at_unsent(self, now: float) -> None:
        """An answer is over, or the application's: nobody else looks whether the client takes it."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._taken_at = unsent, now
        elif now - self._taken_at > self._taking_s:
            self.transport.abort()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
