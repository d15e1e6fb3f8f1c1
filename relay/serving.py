"""Serving on a TCP port or a Unix socket until it is told to stop: the API's hot path, and an application beside it.

Not here: what the application answers (http), what the API does (answering), and a client's connection (wire).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aiohttp import web

from relay.answering import Api
from relay.errors import from_status
from relay.http import FIXED, error_response, request_id
from relay.wire.connection import Connection
from relay.wire.routes import Routes
from relay.wire.server import Pace, Server
from relay.wire.watch import Watch

_NEVER_S = 1e6  # idle connections are closed by whoever has them first
_BACKLOG = 1024
_SOCKET_PATH_LIMIT_BYTES = 107  # the kernel's

NO_API = Api({})
PACE = Pace()


class _Application(web.RequestHandler):
    """aiohttp's side of a connection. Answers what it does not take for HTTP as it answers all that is, where aiohttp
    would send a text that names itself."""

    __slots__ = ("on_finished",)

    on_finished: Callable[[bool], None]

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        response, reset = await super().finish_response(request, resp, start_time)
        self.on_finished(bool(response.keep_alive) and not reset)
        return response, reset

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc  # the client is gone: nobody to answer, and nothing to log as a fault of ours
        if status >= 500 or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        first_line = (message or "").partition("\n")[0].strip(": ")
        response = error_response(from_status(status, f"This is not HTTP: {first_line}.", code="invalid_http"))
        response.headers.update({"X-Request-Id": request_id(request.headers), "Server": "waypost"})
        response.force_close()
        return response


class _Applications(web.Server):
    def __call__(self) -> _Application:
        return _Application(self, loop=asyncio.get_running_loop(), **self._kwargs)


class _Runner(web.AppRunner):
    """`AppRunner` with our side of a connection."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Applications(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )


async def serve(
    app: web.Application,
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
    api: Api = NO_API,
    on_ready: Callable[[str, int], None] | None = None,
    tls: ssl.SSLContext | None = None,
    linger_s: float = 5.0,
    pace: Pace = PACE,
    sock: socket.socket | None = None,
) -> None:
    """Serve until `stop` is set, then give running requests `linger_s` seconds. Port 0 takes a free one.

    `sock`, where it is given, is bound already, and host and port count for nothing. A client that leaves cancels its
    handler, and so its upstream request. Raises OSError where the port is taken.
    """
    async with _running(app, api, linger_s, pace) as connect:
        loop = asyncio.get_running_loop()
        if sock is not None:
            listening = await loop.create_server(connect, sock=sock, ssl=tls, backlog=_BACKLOG)
        else:
            listening = await loop.create_server(connect, host, port, ssl=tls, backlog=_BACKLOG)
        bound = listening.sockets[0].getsockname()
        try:
            if on_ready is not None:
                on_ready(bound[0], bound[1])
            await stop.wait()
        finally:
            listening.close()


async def serve_on_socket(
    app: web.Application,
    path: Path,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[], None],
    api: Api = NO_API,
    linger_s: float = 5.0,
) -> None:
    """The same on a Unix socket, whose file is gone before and after. Raises ValueError for too long a path."""
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT_BYTES:
        raise ValueError(f"the socket's path is longer than {_SOCKET_PATH_LIMIT_BYTES} bytes: {path}")
    async with _running(app, api, linger_s, PACE) as connect:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs yet
        listening = await asyncio.get_running_loop().create_unix_server(connect, str(path), backlog=_BACKLOG)
        try:
            on_ready()
            await stop.wait()
        finally:
            listening.close()
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs any more


@asynccontextmanager
async def _running(
    app: web.Application, api: Api, linger_s: float, pace: Pace
) -> AsyncIterator[Callable[[], Connection]]:
    """What makes a connection; at the end those that there are end."""
    runner = _Runner(
        app,
        handle_signals=False,
        access_log=None,
        handler_cancellation=True,
        auto_decompress=False,  # an encoded body is refused by `call`, not inflated behind its back
        keepalive_timeout=_NEVER_S,
        lingering_time=pace.linger_s,
        shutdown_timeout=linger_s,
    )
    await runner.setup()
    assert isinstance(runner.server, _Applications)
    server = Server(Routes(api.handlers), api.answer, api.refuse, runner.server, app[FIXED], pace, Watch())
    try:
        yield partial(Connection, server, asyncio.get_running_loop())
    finally:
        await server.close(linger_s)
        await runner.cleanup()
