"""Ask an upstream, and relay what it answers, byte for byte, in two steps.

`ask` returns once the upstream has really answered: its head and first bytes for a stream, everything for the rest, so
that until then another upstream can still be asked. `relay` then carries the bytes to the client. An answer that breaks
after its first byte never looks complete: it gets an error event where there is one, and no end.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from aiohttp import web

from relay.answer import EVENT_STREAM, Answer, Limits, Relayed
from relay.call import Call
from relay.errors import ApiError, BadUpstream, ConnectFailed, Reset, UpstreamTimeout
from relay.events import Dialect, Ending

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_TAKING_S = 120.0  # for the client to make room for a piece


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    call: Call,
    headers: Mapping[str, str],
    limits: Limits,
    tls: aiohttp.Fingerprint | bool = True,
) -> Relayed:
    """Send the call's body to `url` and wait for an answer, whatever its status.

    Raises ConnectFailed (the upstream did not see the request), Reset (it may have), UpstreamTimeout (silence).
    """
    sent = {
        "Content-Type": call.content_type,
        "Content-Length": str(call.size),
        "X-Request-Id": call.request_id,
        "Accept-Encoding": "identity",
        **headers,
    }
    with reaching():
        async with patience(limits.head_s) as begin_anew:
            body = call.payload()
            data = body if isinstance(body, bytes) else _telling(body, begin_anew)
            response = await session.post(url, data=data, headers=sent, allow_redirects=False, ssl=tls)
    answer = Relayed(response, limits)
    try:
        await answer.begin(call.endpoint.flows)
    except BaseException:
        answer.close()
        raise
    return answer


@asynccontextmanager
async def patience(limit_s: float) -> AsyncIterator[Callable[[], None]]:
    """A time limit that begins anew when what it gives is called: with each piece of a body whose way may be slow."""
    over = False
    async with asyncio.timeout(limit_s) as limit:

        def begin_anew() -> None:
            if not over and not limit.expired():  # a body may still be on its way when its answer has begun
                limit.reschedule(asyncio.get_running_loop().time() + limit_s)

        try:
            yield begin_anew
        finally:
            over = True


async def _telling(body: AsyncIterator[bytes], on_piece: Callable[[], None]) -> AsyncIterator[bytes]:
    async for piece in body:
        on_piece()
        yield piece


@contextmanager
def reaching() -> Iterator[None]:
    """What can go wrong on the way to an upstream, as errors of ours."""
    try:
        yield
    except TimeoutError as error:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise ConnectFailed("The upstream did not accept a connection in time.", code="connect_timeout") from error
        raise UpstreamTimeout("The upstream did not answer in time.", code="head_timeout") from error
    except (aiohttp.ClientConnectorError, aiohttp.ServerFingerprintMismatch) as error:
        raise ConnectFailed("The upstream could not be reached.", code="connect_failed") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Reset("The upstream closed the connection without an answer.", code="upstream_reset") from error


class EarlyStream:
    """A stream that begins before its answer is there, with comments that keep the connection open.

    Whoever has begun it must end it by `relay` or by `fail`.
    """

    def __init__(self, request: web.Request, events: Dialect) -> None:
        self._request = request
        self._events = events
        self.response: web.StreamResponse | None = None

    def __repr__(self) -> str:
        return f"<EarlyStream {'begun' if self.response else 'not begun'}>"

    async def comment(self, text: str) -> None:
        """Raises ConnectionError where the client is gone."""
        if self.response is None:
            self.response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM})
            await _prepare(self._request, self.response)
        await _write(self._request, self.response, f": {text}\n\n".encode())

    async def fail(self, error: ApiError) -> web.StreamResponse:
        """End it with an error event and without its end. Raises the error where nothing was begun."""
        if self.response is None:
            raise error
        await _fail(self._request, self.response, self._events, error)
        return self.response


async def relay(
    request: web.Request,
    answer: Answer,
    call: Call,
    headers: Mapping[str, str] | None = None,
    early: EarlyStream | None = None,
) -> web.StreamResponse:
    """Carry a good answer to the client. `headers` are added to the few that come back from the upstream.

    Where the client's stream has begun already, `early`, the answer goes on with it.
    """
    if early is not None and early.response is not None:
        if answer.headers().get("Content-Type", "").partition(";")[0].strip().lower() != EVENT_STREAM:
            return await early.fail(BadUpstream("The upstream did not answer with a stream.", code="upstream_broken"))
        await _carry(request, early.response, answer, call)
        return early.response
    named = {**answer.headers(), **(headers or {})}
    if not answer.streamed:
        return web.Response(status=answer.status, body=answer.first, headers=named)
    response = web.StreamResponse(status=answer.status, headers=named)
    if response.content_type != EVENT_STREAM:
        response.content_length = answer.length  # not of events: an error may have to follow them
    await _prepare(request, response)
    await _carry(request, response, answer, call)
    return response


async def _prepare(request: web.Request, response: web.StreamResponse) -> None:
    if response.content_type == EVENT_STREAM:
        response.headers.setdefault("Cache-Control", "no-cache")
        response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(request)


async def _carry(request: web.Request, response: web.StreamResponse, answer: Answer, call: Call) -> None:
    events = call.endpoint.events if response.content_type == EVENT_STREAM else None
    ending = Ending(events) if events else None
    try:
        async for piece in answer.pieces():
            await _write(request, response, piece)
            if ending:
                ending.feed(piece)
        if ending and not ending.whole:
            raise Reset("The upstream's stream ended before it was complete.", code="upstream_broken")
    except ApiError as error:
        if events is None:
            break_off(request, response)
        else:
            await _fail(request, response, events, error)
        return
    await response.write_eof()


async def _fail(request: web.Request, response: web.StreamResponse, events: Dialect, error: ApiError) -> None:
    """An error event, and then no final chunk."""
    await _write(request, response, b"\n\n" + events.error(error))
    if request.transport is not None:
        request.transport.close()  # once the error has left


def break_off(request: web.Request, response: web.StreamResponse) -> None:
    """End the connection without the answer's end: the final chunk is missing, or some of the length.

    To a client of HTTP/1.0 there may be neither, and only a reset says that this was not all.
    """
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None and request.version < aiohttp.HttpVersion11 and response.content_length is None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    transport.abort()


async def _write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Raises ConnectionError where the client takes nothing for too long: its stream holds an engine's slot."""
    try:
        async with asyncio.timeout(_TAKING_S):
            await response.write(piece)
    except TimeoutError as error:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError("the client took nothing") from error
