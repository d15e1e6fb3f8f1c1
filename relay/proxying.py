"""The generic proxy's way to an upstream and back, as node and gateway both go it.

`send` asks, `carry` brings back what is answered; bytes go both ways at once. Not here: reading the request
(proxy_call), which paths are open (node), who is asked (gateway), and websockets.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from relay.answer import EVENT_STREAM, Relayed
from relay.errors import ApiError, BadUpstream, from_upstream
from relay.limits import Limits
from relay.proxy_call import METHODS, PEERS_MODEL_HEADER, SAFE, Body, ProxyCall, is_websocket, once, read
from relay.reaching import patience, reaching
from relay.web_source import WebSource

__all__ = ["METHODS", "PEERS_MODEL_HEADER", "Body", "ProxyCall", "carry", "read", "send", "telling"]

ERROR_HEADER = "Waypost-Error"  # the envelope, where no body brings it: to a HEAD, or to a websocket's handshake
_LONGEST_ERROR = 4096
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)

Judge = Callable[[int, bytes, str | None], ApiError]


async def send(
    session: aiohttp.ClientSession,
    base: str,
    call: ProxyCall,
    headers: Mapping[str, str],
    limits: Limits,
    judge: Judge = from_upstream,
    tls: aiohttp.Fingerprint | bool = True,
) -> Relayed:
    """Ask the upstream at `base`; returns a good answer as soon as its head is there, its bytes still to come.

    `judge` makes an error of a bad one. Raises ApiError, ConnectFailed where the upstream has not seen the request.
    """
    sent = {"X-Request-Id": call.request_id, "Accept-Encoding": "identity", **call.headers, **headers}
    response = await _head(session, call, call.target.url(base), sent, limits, tls)
    answer = Relayed(WebSource(response), limits)
    try:
        if answer.status < 400:
            _check_usable(answer)
            return answer
        await answer.begin(flows=False)
        body = answer.first or (answer.header(ERROR_HEADER) or "").encode("utf-8", "surrogateescape")
        raise judge(answer.status, body, answer.header("Retry-After"))
    except BaseException:
        answer.close()
        raise


async def carry(
    request: web.Request, answer: Relayed, limits: Limits, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Bring a good answer to the client, as it comes. One that breaks off is closed without its end."""
    response = web.StreamResponse(status=answer.status, headers={**answer.headers(), **(headers or {})})
    response.content_length = answer.length
    if response.content_type == EVENT_STREAM:
        response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(request)
    try:
        async for piece in answer.pieces():
            async with asyncio.timeout(limits.gap_s):
                await response.write(piece)
    except (ApiError, TimeoutError):
        _break_off(request, response)
        return response
    await response.write_eof()
    return response


def _break_off(request: web.Request, response: web.StreamResponse) -> None:
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


@contextmanager
def telling(request: web.Request) -> Iterator[None]:
    """Errors say what they are in a header too, where whoever relays them gets no body."""
    try:
        yield
    except ApiError as error:
        text = error.body().decode()
        if (request.method == "HEAD" or is_websocket(request)) and len(text) <= _LONGEST_ERROR:
            error.extra_headers[ERROR_HEADER] = text
        raise


async def _head(
    session: aiohttp.ClientSession,
    call: ProxyCall,
    url: URL,
    headers: dict[str, str],
    limits: Limits,
    tls: aiohttp.Fingerprint | bool,
) -> aiohttp.ClientResponse:
    """The upstream's head, which may come before it has had the whole body. Each piece of that gives it more time."""
    body = call.body or (None if call.method in SAFE else Body(0, lambda: once(b""), flows=False))
    if body is not None and body.length is not None:
        headers["Content-Length"] = str(body.length)
    try:
        with reaching():
            async with patience(limits.head_s) as begin_anew:
                if body is not None:
                    body.on_piece = begin_anew
                # Never plain bytes: those aiohttp would send a second time where a kept connection has just ended.
                data = body.pieces() if body is not None else None
                return await session.request(
                    call.method, url, data=data, headers=headers, allow_redirects=False, ssl=tls
                )
    except ApiError:
        if body is not None and body.failure is not None:
            raise body.failure from None  # the client's fault, and not the upstream's
        raise


def _check_usable(answer: Relayed) -> None:
    if not answer.ok:
        text = f"The upstream answered with status {answer.status}, which is not followed."
        raise BadUpstream(text, code="redirected")
    answer.check_plain()
