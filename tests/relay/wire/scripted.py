"""An upstream that says exactly what it is told: a script for each connection, run over a real socket.

What it says in parts reaches the other side in just these parts, on a Unix socket. Not here: any knowledge of HTTP but
where a request ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.number = number  # of the connection, from 0
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """A whole request: its head, and as much of a body as its length says."""
        head = await self.head()
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return head + await self._reader.readexactly(int(length or b"0"))

    async def head(self) -> bytes:
        return await self._reader.readuntil(b"\r\n\r\n")

    async def some(self, size: int) -> bytes:
        return await self._reader.readexactly(size)

    async def say(self, *parts: bytes) -> None:
        """Each part is a read of its own on the other side, where that is a Unix socket's."""
        for part in parts:
            self._writer.write(part)
            while not self._was_read():  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0)

    async def pour(self, piece: bytes) -> None:
        """As much as the other side takes; returns once it took this."""
        self._writer.write(piece)
        await self._writer.drain()

    def finish(self) -> None:
        """No more will be said; what comes is still read."""
        self._writer.write_eof()

    def reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> bytes:
        """Until the other side has closed; what it said before."""
        with contextlib.suppress(ConnectionError):
            return await self._reader.read()
        return b""

    def _was_read(self) -> bool:
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the other side left")
        if self._writer.transport.get_write_buffer_size():
            return False
        sock = self._writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            return True
        return not struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]


class Scripted:
    """The upstream. `peers` are its connections so far; each is closed when its script ends."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.port = 0
        self.peers: list[Peer] = []
        self.open = 0
        self.failures: list[BaseException] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, len(self.peers))
        self.peers.append(peer)
        self.open += 1
        try:
            await self._script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side left, which is its right
        except Exception as error:
            self.failures.append(error)
        finally:
            self.open -= 1
            writer.close()


@contextlib.asynccontextmanager
async def scripted(
    script: Script, path: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Scripted]:
    """On a port of 127.0.0.1, or on a Unix socket."""
    upstream = Scripted(script)
    if path is not None:
        server = await asyncio.start_unix_server(upstream.take, path)
    else:
        server = await asyncio.start_server(upstream.take, "127.0.0.1", 0, ssl=tls)
        upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        await server.wait_closed()
    assert not upstream.failures, upstream.failures
