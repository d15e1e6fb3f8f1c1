"""One connection of the misbehaving node, byte by byte: no HTTP library would write what has to be written here.

Not here: what is written (faults).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Mapping
from dataclasses import dataclass

_NO_LINGER = struct.pack("ii", 1, 0)
STREAM = "text/event-stream"


class Malformed(Exception):
    """What came is no HTTP that a gateway may write."""


@dataclass(frozen=True)
class Asked:
    """A request as it came; `head` has each field's values by its lower-case name."""

    method: str
    path: str
    head: Mapping[str, list[str]]
    body: bytes


class Wire:
    """Reads strictly, and writes whatever it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.open = True

    async def asked(self) -> Asked | None:
        """The next request; None where no more comes. Raises Malformed."""
        try:
            raw = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *fields = raw[:-4].decode("latin-1").split("\r\n")
        method, path, version = first.split(" ")
        if version != "HTTP/1.1":
            raise Malformed(first)
        head: dict[str, list[str]] = {}
        for each in fields:
            name, colon, value = each.partition(":")
            if not colon or name != name.strip() or not name:
                raise Malformed(each)
            head.setdefault(name.lower(), []).append(value.strip())
        if "host" not in head or "transfer-encoding" in head or (method == "POST" and "content-length" not in head):
            raise Malformed(f"{method} with {sorted(head)}")
        length = head.get("content-length", ["0"])[0]
        if not length.isdecimal():
            raise Malformed(f"Content-Length: {length}")
        try:
            return Asked(method, path, head, await self._reader.readexactly(int(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def head(
        self, status: int = 200, kind: str = STREAM, length: int | None = None, more: Mapping[str, str] | None = None
    ) -> None:
        """A response's head; without a length, chunks follow."""
        fields = {"Content-Type": kind, **(more or {})}
        fields |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields.items())]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def whole(self, status: int, body: bytes, kind: str = "application/json", **more: str) -> None:
        """A response with its length, underscores in the names of more fields being dashes."""
        await self.head(status, kind, len(body), {name.replace("_", "-"): value for name, value in more.items()})
        await self.raw(body)

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The chunk that says that there are no more."""
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        """Raises ConnectionError where the gateway has left."""
        self._writer.write(data)
        await self._writer.drain()

    async def reset(self) -> None:
        """RST, as from a machine that has lost its process, once what was said before has arrived."""
        self.open = False
        sock: socket.socket = self._writer.get_extra_info("socket")
        while self._writer.transport.get_write_buffer_size() or _unacknowledged(sock):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._writer.transport.abort()

    def close(self) -> None:
        """FIN, whatever was promised."""
        self.open = False
        self._writer.close()

    async def held(self) -> None:
        """Say nothing more until the gateway closes the connection."""
        self.open = False
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass


def _unacknowledged(sock: socket.socket) -> int:
    """Bytes that the other side's system does not have yet: RST would make them undone."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
