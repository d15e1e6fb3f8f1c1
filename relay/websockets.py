"""Websockets, relayed message by message: what one side sends, pings and close codes included, the other side gets.

Memory is bounded: nothing is read from one side while the other does not take what came before. Not here: who is on the
other side (node, gateway).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from yarl import URL

from relay.errors import ApiError, BadRequest, BadUpstream, from_upstream
from relay.limits import Limits
from relay.proxying import ERROR_HEADER
from relay.reaching import reaching

MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
_PING_S = 30.0
_SILENT_S = 3 * _PING_S  # a side that is there answers pings
_CLOSE_S = 2.0  # for the other side to close too

Side = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


@dataclass(frozen=True)
class _End:
    """`side` has closed with `code`, or has gone without a word: None."""

    side: Side
    code: int | None
    reason: bytes = b""


async def connect(
    session: aiohttp.ClientSession,
    request: web.Request,
    url: URL,
    headers: Mapping[str, str],
    limits: Limits,
    tls: aiohttp.Fingerprint | bool = True,
) -> aiohttp.ClientWebSocketResponse:
    """A websocket to the upstream, with the subprotocols that the client offers. Raises ApiError."""
    if not web.WebSocketResponse().can_prepare(request):
        raise BadRequest("The websocket's handshake is malformed.", code="invalid_handshake")
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    try:
        with reaching():
            async with asyncio.timeout(limits.head_s):
                return await session.ws_connect(
                    url, protocols=[name.strip() for name in offered.split(",") if name.strip()], headers=headers,
                    autoping=False, autoclose=False, max_msg_size=MESSAGE_LIMIT_BYTES, ssl=tls,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                )  # fmt: skip
    except ApiError as error:
        refused = error.__cause__
        if isinstance(refused, aiohttp.WSServerHandshakeError):
            raise _refusal(refused) from refused
        raise


async def relay(
    request: web.Request, upstream: aiohttp.ClientWebSocketResponse, limits: Limits, headers: Mapping[str, str]
) -> web.WebSocketResponse:
    """Carry messages both ways until either side closes, and see that both do. Closes the upstream in any case."""
    client = web.WebSocketResponse(
        protocols=[upstream.protocol] if upstream.protocol else [], autoping=False, autoclose=False, compress=False,
        max_msg_size=MESSAGE_LIMIT_BYTES, timeout=_CLOSE_S,
    )  # fmt: skip
    client.headers.update(headers)
    code: int = WSCloseCode.GOING_AWAY
    tasks: list[asyncio.Task[Any]] = []
    try:
        await client.prepare(request)
        up, down = _pump(client, upstream, limits), _pump(upstream, client, limits)
        tasks = [asyncio.create_task(each) for each in (up, down, _keep_awake(client, upstream))]
        done, _ = await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
        end: _End = done.pop().result()
        code = end.code or code
        if end.side is client:
            await _client_ended(end, client, upstream, tasks[1])
        else:
            await _cancel(tasks[0])
            await client.close(code=end.code or WSCloseCode.INTERNAL_ERROR, message=end.reason)
    finally:
        try:
            await _cancel(*tasks)
        finally:  # the client's leaving may cancel us at any of these waits
            await upstream.close(code=code)
    return client


async def _client_ended(
    end: _End,
    client: web.WebSocketResponse,
    upstream: aiohttp.ClientWebSocketResponse,
    answering: asyncio.Task[_End],
) -> None:
    """What the upstream still sends before it closes too goes to the client."""
    if end.code is None:
        return
    answer = end
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await upstream.send_frame(end.code.to_bytes(2) + end.reason, WSMsgType.CLOSE)
            answer = await answering
    await client.close(code=answer.code or end.code, message=answer.reason)


async def _pump(source: Side, sink: Side, limits: Limits) -> _End:
    while True:
        try:
            message = await source.receive(timeout=_SILENT_S)
        except TimeoutError:
            return _End(source, None)
        if message.type is WSMsgType.CLOSE:
            return _End(source, message.data or WSCloseCode.OK, (message.extra or "").encode())
        if message.type is WSMsgType.ERROR:
            code = message.data.code if isinstance(message.data, aiohttp.WebSocketError) else None
            return _End(source, code if code == WSCloseCode.MESSAGE_TOO_BIG else None)
        try:
            async with asyncio.timeout(limits.gap_s):
                if not await _pass_on(message, sink):
                    return _End(source, None)
        except (ConnectionError, TimeoutError):
            return _End(sink, None)


async def _pass_on(message: aiohttp.WSMessage, sink: Side) -> bool:
    if message.type is WSMsgType.TEXT:
        await sink.send_str(message.data)
    elif message.type is WSMsgType.BINARY:
        await sink.send_bytes(message.data)
    elif message.type is WSMsgType.PING:
        await sink.ping(message.data)
    elif message.type is WSMsgType.PONG:
        await sink.pong(message.data)
    else:
        return False
    return True


async def _keep_awake(*sides: Side) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(_PING_S)
            for side in sides:
                await side.ping()


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _refusal(error: aiohttp.WSServerHandshakeError) -> ApiError:
    if error.status < 400:
        return BadUpstream("The upstream does not speak websockets here.", code="upstream_handshake")
    told = error.headers.get(ERROR_HEADER, "") if error.headers else ""
    return from_upstream(error.status, told.encode("utf-8", "surrogateescape"))
