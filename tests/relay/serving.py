"""An application on a free port, served as production serves it, and raw bytes sent to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from aiohttp import web

from relay.answering import Api
from relay.http import make_app
from relay.serving import serve
from relay.wire.routes import Handler

LIMIT_BYTES = 4096
NO_HANDLERS: Mapping[str, Handler] = MappingProxyType({})
_ANSWER_LIMIT_S = 90.0


@dataclass(frozen=True)
class Served:
    """Where the application listens, and what it was observed to have finished: (route, status)."""

    host: str
    port: int
    observed: list[tuple[str, int]]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def send(self, raw: bytes) -> bytes:
        """Send bytes as they stand; returns the answer's head and body, which must have a Content-Length."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(raw)
            return await asyncio.wait_for(_read_answer(reader), _ANSWER_LIMIT_S)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(
    routes: Sequence[web.AbstractRouteDef], api: Mapping[str, Handler] = NO_HANDLERS
) -> AsyncIterator[Served]:
    """Serve routes through `make_app`, and the hot path's handlers, by `serve` on port 0."""
    observed: list[tuple[str, int]] = []

    def observe(route: str, _model: str, status: int, _seconds: float) -> None:
        observed.append((route, status))

    app = make_app(routes, body_limit_bytes=LIMIT_BYTES, observe=observe)
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(
            app,
            "127.0.0.1",
            0,
            api=Api(api, observe),
            stop=stop,
            on_ready=lambda *where: bound.set_result(where),
            linger_s=1,
        )
    )
    try:
        host, port = await asyncio.wait_for(bound, 90)
        yield Served(host, port, observed)
    finally:
        stop.set()
        await task


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head + await reader.readexactly(int(length.partition(b":")[2]))
