"""A TCP crossing: what passes is handed on as it is, noted with its time, and can be cut.

It stands before a node, or between a client and the gateway, and reads no HTTP (see wire). Not here: delay,
loss and other ways to misbehave.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import cast

_HEAD = b" HTTP/1.1\r\n"  # the one thing known of what passes: here a request begins
Piece = tuple[float, bytes]  # when it came, on the clock of time.perf_counter


@dataclass(eq=False)
class Passage:
    """One connection: what was asked on it, and what was answered."""

    asked: list[Piece] = field(default_factory=list)
    answered: list[Piece] = field(default_factory=list)
    ends: set[asyncio.Transport] = field(default_factory=set)

    def cut(self) -> None:
        """Both ends see a reset."""
        for end in self.ends:
            _reset(end)


class Crossing:
    """Listens on a port of 127.0.0.1 and hands on to another."""

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self._server: asyncio.Server | None = None
        self.port = 0
        self._reaching: set[asyncio.Task[None]] = set()
        self.passages: list[Passage] = []

    def __repr__(self) -> str:
        return f"<Crossing {self.port} to {self.to_port} passages={len(self.passages)}>"

    @classmethod
    async def open(cls, to_port: int) -> Crossing:
        made = cls(to_port)
        loop = asyncio.get_running_loop()
        made._server = await loop.create_server(lambda: _Near(made), "127.0.0.1", 0)
        made.port = made._server.sockets[0].getsockname()[1]
        return made

    def cut(self, words: bytes) -> None:
        """Every connection whose last request has such words, at once; new ones pass."""
        for passage in self.passages:
            _, found, behind = b"".join(piece for _, piece in passage.asked).rpartition(words)
            if found and _HEAD not in behind:
                passage.cut()

    def last_asked(self, words: bytes) -> float:
        """When a piece with such words last came from whoever asks; 0 if never."""
        pieces = (piece for passage in self.passages for piece in passage.asked)
        return max((at for at, piece in pieces if words in piece), default=0.0)

    def forget(self) -> None:
        """What has passed so far; for when nothing is under way."""
        self.passages = [passage for passage in self.passages if passage.ends]
        for passage in self.passages:
            passage.asked.clear()
            passage.answered.clear()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._reaching:
            task.cancel()
        for passage in self.passages:
            passage.cut()

    def reach(self, near: _Near) -> None:
        """The other side, for a connection that has just come."""
        task = asyncio.get_running_loop().create_task(self._reach(near))
        self._reaching.add(task)
        task.add_done_callback(self._reaching.discard)

    async def _reach(self, near: _Near) -> None:
        try:
            _, far = await asyncio.get_running_loop().create_connection(
                lambda: _End(near.passage, near.passage.answered), "127.0.0.1", self.to_port
            )
        except OSError:
            _reset(near.transport)  # a reset, where without the crossing it were a refusal
            return
        far.join(near)
        near.join(far)


class _End(asyncio.Protocol):
    """One end of a passage; notes what it hears. It trusts that what passes is small, and holds nobody back."""

    def __init__(self, passage: Passage, heard: list[Piece]) -> None:
        self.passage = passage
        self.transport: asyncio.Transport
        self._heard = heard
        self._other: _End | None = None
        self._waiting: list[bytes] = []

    def join(self, other: _End) -> None:
        """What came before the other end was there goes first."""
        self._other = other
        if self.transport.is_closing():
            _reset(other.transport)
        for data in self._waiting:
            other.transport.write(data)
        self._waiting.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.passage.ends.add(self.transport)

    def data_received(self, data: bytes) -> None:
        self._heard.append((time.perf_counter(), data))
        if self._other is None:
            self._waiting.append(data)
        else:
            self._other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.passage.ends.discard(self.transport)
        if self._other is None:
            return
        if exc is None:
            self._other.transport.close()
        else:
            _reset(self._other.transport)


class _Near(_End):
    """The end that somebody connected to."""

    def __init__(self, crossing: Crossing) -> None:
        passage = Passage()
        super().__init__(passage, passage.asked)
        self._crossing = crossing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._crossing.passages.append(self.passage)
        self._crossing.reach(self)


def _reset(end: asyncio.Transport) -> None:
    """Closed without lingering, which the other side sees as a reset and not as an end."""
    if not end.is_closing():
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.abort()
