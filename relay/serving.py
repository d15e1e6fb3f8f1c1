"""Serving an application, on a TCP port or a Unix socket, until it is told to stop.

Not here: what the application answers (http).
"""

from __future__ import annotations

import asyncio
import os
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from relay.errors import from_status
from relay.http import error_response

_KEEPALIVE_SERVER_S = 75.0
_LINGERING_S = 10.0  # so long a refused body is thrown away, for its client to read why
_SOCKET_PATH_LIMIT_BYTES = 107  # the kernel's


class _Connection(web.RequestHandler):
    """Answers what is not HTTP as it answers all that is, where aiohttp would send a text that names itself."""

    __slots__ = ()

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
        response.headers.update({"X-Request-Id": uuid.uuid4().hex, "Server": "waypost"})
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)


class _Runner(web.AppRunner):
    """`AppRunner` with our connections."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
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
    on_ready: Callable[[str, int], None] | None = None,
    tls: ssl.SSLContext | None = None,
    linger_s: float = 5.0,
) -> None:
    """Serve until `stop` is set, then give running requests `linger_s` seconds. Port 0 takes a free one.

    A client that leaves cancels its handler, and so its upstream request. Raises OSError where the port is taken.
    """
    async with _running(app, linger_s) as runner:
        await web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024).start()
        bound = runner.addresses[0]
        if on_ready is not None:
            on_ready(bound[0], bound[1])
        await stop.wait()


async def serve_on_socket(
    app: web.Application, path: Path, *, stop: asyncio.Event, on_ready: Callable[[], None], linger_s: float = 5.0
) -> None:
    """The same on a Unix socket, whose file is gone before and after. Raises ValueError for too long a path."""
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT_BYTES:
        raise ValueError(f"the socket's path is longer than {_SOCKET_PATH_LIMIT_BYTES} bytes: {path}")
    async with _running(app, linger_s) as runner:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs yet
        await web.UnixSite(runner, str(path)).start()
        on_ready()
        await stop.wait()
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs any more


@asynccontextmanager
async def _running(app: web.Application, linger_s: float) -> AsyncIterator[web.AppRunner]:
    runner = _Runner(
        app,
        handle_signals=False,
        access_log=None,
        handler_cancellation=True,
        auto_decompress=False,  # an encoded body is refused by `call`, not inflated behind its back
        keepalive_timeout=_KEEPALIVE_SERVER_S,
        lingering_time=_LINGERING_S,
        shutdown_timeout=linger_s,
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()
