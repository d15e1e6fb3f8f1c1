"""A tap on the wire between the client and the gateway: the bytes of answers, framing and all, as the client gets them.

For one request at a time. Not here: what they mean to a client (seen).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class Tap:
    """Where to connect instead, and what has come through."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._read = bytearray()
        self._since = 0
        self._closed = asyncio.Event()
        self.url = ""

    def begin(self) -> None:
        """What comes from now on belongs to another request."""
        self._since = len(self._read)
        self._closed.clear()

    async def answer(self, is_whole: bool) -> Answer:
        """What has come since `begin`: all of it, where it is a whole answer or the gateway has closed."""
        async with asyncio.timeout(90):
            while not (answer := Answer(bytes(self._read[self._since :]))).ended and is_whole:
                if self._closed.is_set():
                    break
                await asyncio.sleep(0.01)
        return answer

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Tap]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, back, keep=False))
                both.create_task(self._carry(there, writer, keep=True))
        finally:
            back.close()
            writer.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, keep: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if keep:
                    self._read += data
                sink.write(data)
                await sink.drain()
        if keep:
            self._closed.set()
        sink.close()


class Answer:
    """`body` without its framing; `ended`: in order, as its framing says."""

    def __init__(self, raw: bytes) -> None:
        head, _, rest = raw.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        self.body, self.ended = b"", False
        if b"content-length" in fields:
            self.body = rest
            self.ended = len(rest) >= int(fields[b"content-length"])
        elif b"transfer-encoding" in fields:
            self._unchunk(rest)

    def _unchunk(self, rest: bytes) -> None:
        while rest and not self.ended:
            size, line_end, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if not line_end or len(rest) < length + 2:
                self.body += rest[:length]
                return
            assert rest[length : length + 2] == b"\r\n", "the gateway's own chunks are in order"
            self.body += rest[:length]
            rest = rest[length + 2 :]
            self.ended = length == 0
