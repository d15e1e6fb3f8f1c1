"""A client that sends bytes as they stand, and reads what comes back strictly, by h11.

It reads nothing that it is not asked to. Not here: which bytes (rows), and what they should be answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import h11
import orjson

LIMIT_S = 90.0
_PIECE_BYTES = 64 * 1024
_ONCE = ("content-length", "content-type", "date", "server", "transfer-encoding", "x-request-id", "connection")
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Answer:
    """One answer, and the 1xx that came before it."""

    status: int
    version: bytes
    headers: dict[str, str]
    interim: list[int]
    body: bytearray = field(default_factory=bytearray)

    @property
    def closes(self) -> bool:
        """Whether the head says that the connection ends with it."""
        tokens = [token.strip().lower() for token in self.headers.get("connection", "").split(",")]
        return "close" in tokens or (self.version == b"1.0" and "keep-alive" not in tokens)

    @property
    def error(self) -> dict[str, Any]:
        """Of an error that is our envelope, with all that belongs to it."""
        assert self.headers["content-type"].partition(";")[0] == "application/json", self
        assert self.headers["x-request-id"], self
        assert self.headers["server"] == "waypost", self
        error: dict[str, Any] = orjson.loads(bytes(self.body))["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert error["message"] and "Traceback" not in error["message"], error
        return error


class RawClient:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parser: h11.Connection | None = None
        self._unread = b""
        self.broken_pipe = False  # it could not send all that it wanted to

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, host: str, port: int, receive_bytes: int = 0) -> AsyncIterator[RawClient]:
        """A connection; `receive_bytes` is as much as its kernel takes in unasked."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            yield cls(sock)

    async def send(self, raw: bytes, cuts: Sequence[int] = ()) -> None:
        """Send it, each part between two cuts in a packet of its own. Stops where the server has hung up."""
        places = [0, *sorted(set(cuts)), len(raw)]
        for start, end in pairwise(places):
            try:
                async with asyncio.timeout(LIMIT_S):
                    await asyncio.get_running_loop().sock_sendall(self._sock, raw[start:end])
            except (BrokenPipeError, ConnectionResetError):
                self.broken_pipe = True
                return
            await _let_others_read()

    def send_now(self, raw: bytes) -> int:
        """Send what the kernel takes without waiting; returns how much that is. Raises ConnectionError."""
        try:
            return self._sock.send(raw)
        except BlockingIOError:
            return 0

    def shut(self) -> None:
        """Say that nothing more will be sent; answers can still come."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Be gone without a word."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self._sock.close()

    async def head(self, method: str = "GET") -> Answer:
        """The head of the next answer, which is to a request of that method."""
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_PIECE_BYTES)
        self._parser.send(h11.Request(method=method, target="/", headers=[("Host", "here")]))
        self._parser.send(h11.EndOfMessage())
        if self._unread:
            self._parser.receive_data(self._unread)
        interim: list[int] = []
        while True:
            event = await self._event()
            if isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                return Answer(event.status_code, bytes(event.http_version), _strict(event), interim)
            else:
                raise AssertionError(f"no answer, but {event}")

    async def interim(self) -> int:
        """The status of a 1xx that has come before its answer; read no answer before that but by `head_after`."""
        self._parser = h11.Connection(h11.CLIENT)
        self._parser.send(h11.Request(method="POST", target="/", headers=[("Host", "here"), ("Content-Length", "0")]))
        event = await self._event()
        assert isinstance(event, h11.InformationalResponse), event
        self._unread = self._parser.trailing_data[0]
        return event.status_code

    async def piece(self) -> bytes:
        """The next bytes of the answer's body, empty at its end."""
        event = await self._event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        assert self._parser is not None
        self._unread = self._parser.trailing_data[0]
        return b""

    async def answer(self, method: str = "GET") -> Answer:
        """The whole next answer. Raises h11.RemoteProtocolError where it is not HTTP, or breaks off."""
        answer = await self.head(method)
        while piece := await self.piece():
            answer.body += piece
        return answer

    async def answers(self) -> list[Answer]:
        """All answers up to the end of the connection."""
        found = []
        while self._unread or (more := await self.receive()):
            self._unread = self._unread or more
            found.append(await self.answer())
        return found

    async def ended(self) -> None:
        """Wait for the server to hang up, which it does without another byte."""
        assert not self._unread, self._unread[:300]
        rest = await self.receive()
        assert not rest, rest[:300]

    async def receive(self) -> bytes:
        """Bytes, as they come, empty at the end of the connection."""
        try:
            async with asyncio.timeout(LIMIT_S):
                return await asyncio.get_running_loop().sock_recv(self._sock, _PIECE_BYTES)
        except ConnectionResetError:
            return b""

    async def _event(self) -> object:
        assert self._parser is not None
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            self._parser.receive_data(await self.receive())
        return event


def _strict(event: h11.Response) -> dict[str, str]:
    """The headers by their lower-case names. Refuses what h11 lets pass and nobody should send."""
    named = [(name.decode("ascii"), value.decode("ascii")) for name, value in event.headers]
    for name in _ONCE:
        assert sum(given == name for given, _ in named) <= 1, (name, named)
    headers = dict(named)
    assert not ("content-length" in headers and "transfer-encoding" in headers), named
    assert event.reason, event
    assert "date" in headers, (event.status_code, named)  # RFC 9110, 6.6.1
    if event.http_version == b"1.0":
        assert "transfer-encoding" not in headers, named  # RFC 9112, 6.1
    return headers


async def _let_others_read() -> None:
    """Two turns of the loop: in one of them a server of this process reads what has just been sent."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
