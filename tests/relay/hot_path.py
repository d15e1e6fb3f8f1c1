"""A server of the hot path, with a pace and an end of the test's own, and bare sockets that speak to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from relay.answering import Api
from relay.http import make_app
from relay.serving import serve
from relay.wire.inbound import Inbound
from relay.wire.routes import Handler
from relay.wire.server import Pace
from tests.programs import until

LIMIT_S = 90.0


class Serving:
    """`stop` ends it, and it ends by itself within `linger_s`; `observed` are the ends of requests: (route, status)."""

    def __init__(self) -> None:
        self.port = 0
        self.stop = asyncio.Event()
        self.observed: list[tuple[str, int]] = []
        self.task: asyncio.Task[None] | None = None

    async def ended(self) -> None:
        self.stop.set()
        assert self.task is not None
        await asyncio.wait_for(asyncio.shield(self.task), LIMIT_S)


@contextlib.asynccontextmanager
async def hot_path(
    handlers: dict[str, Handler],
    routes: Sequence[web.AbstractRouteDef] = (),
    *,
    pace: Pace | None = None,
    linger_s: float = 0.0,
) -> AsyncIterator[Serving]:
    """Serve handlers of POST, and the application's routes, on a free port."""
    serving, bound = Serving(), asyncio.get_running_loop().create_future()
    observe = lambda route, _model, status, _s: serving.observed.append((route, status))  # noqa: E731
    serving.task = asyncio.create_task(
        serve(
            make_app(routes, body_limit_bytes=1000),
            "127.0.0.1",
            0,
            api=Api(handlers, observe),
            stop=serving.stop,
            on_ready=lambda _, port: bound.set_result(port),
            pace=pace or Pace(),
            linger_s=linger_s,
        )
    )
    serving.port = await bound
    try:
        yield serving
    finally:
        await serving.ended()


class Client:
    """One connection; it reads only what it is asked to."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._read = bytearray()

    async def send(self, raw: bytes) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self._sock, raw), LIMIT_S)

    async def until(self, mark: bytes) -> bytes:
        """What comes up to and with this mark."""
        while mark not in self._read:
            piece = await self._piece()
            assert piece, f"it closed after {self._read[-300:]!r}"
            self._read += piece
        found, _, self._read = self._read.partition(mark)
        return bytes(found + mark)

    async def rest(self) -> bytes:
        """What comes to the end of the connection."""
        while piece := await self._piece():
            self._read += piece
        return bytes(self._read)

    def leave(self) -> None:
        self._sock.close()

    async def _piece(self) -> bytes:
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, 65536), LIMIT_S)
        except ConnectionResetError:
            return b""


@contextlib.asynccontextmanager
async def connected(port: int, receive_bytes: int = 0) -> AsyncIterator[Client]:
    with socket.socket() as sock:
        sock.setblocking(False)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        yield Client(sock)


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


async def whole(inbound: Inbound) -> bytes:
    """All of a request's body, read as `relay.incoming` does."""
    if inbound.whole:
        return inbound.take_held()
    read = b""
    while piece := await inbound.read_piece():
        read += piece
    return read


async def observed(serving: Serving, count: int) -> None:
    """Until so many requests have ended."""
    await until(
        lambda: len(serving.observed) >= count, lambda: f"{count} ends, not {serving.observed}", limit_s=LIMIT_S
    )
