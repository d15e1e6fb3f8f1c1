"""Connections that end, or should: nothing hangs, nothing complains, and a half-read request still has its answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from relay.answering import Api
from relay.wire.connection import Connection
from relay.wire.inbound import Inbound
from relay.wire.routes import Routes
from relay.wire.server import Pace, Server
from relay.wire.watch import Watch
from tests.programs import until
from tests.relay.hot_path import LIMIT_S, connected, hot_path, observed, post, whole
from tests.relay.wire.scene import run_on

LARGE_BYTES = 64 * 1024 * 1024  # more than any kernel holds
loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


async def large(inbound: Inbound) -> None:
    inbound.respond(200, {}, b"x" * LARGE_BYTES)


async def repeat(inbound: Inbound) -> None:
    inbound.respond(200, {}, b"<%b>" % await whole(inbound))


@loops
@pytest.mark.parametrize("header", ["Connection: keep-alive", "Connection: close"])
def test_a_whole_answer_that_is_never_taken_ends_its_connection(loop: str, header: str) -> None:
    async def scene() -> None:
        async with (
            hot_path({"/large": large}, pace=Pace(taking_s=0.2, idle_s=0.2)) as serving,
            connected(serving.port, 4096) as client,
        ):
            await client.send(post("/large", b"", header))
            await observed(serving, 1)
            await serving_nobody(serving.port)
            assert len(await client.rest()) < LARGE_BYTES

    run_on(loop)(scene())


@loops
def test_an_answer_of_the_application_that_is_never_taken_ends_its_connection(loop: str) -> None:
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            left.set()

    async def scene() -> None:
        async with (
            hot_path({}, [web.get("/endless", endless)], pace=Pace(taking_s=0.2)) as serving,
            connected(serving.port, 4096) as client,
        ):
            await client.send(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
            await asyncio.wait_for(left.wait(), LIMIT_S)

    run_on(loop)(scene())


@loops
def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(loop: str) -> None:
    async def scene() -> None:
        async with (
            hot_path({"/large": large}, pace=Pace(taking_s=LIMIT_S, idle_s=0.1)) as serving,
            connected(serving.port) as client,
            connected(serving.port) as idle,
        ):
            await client.send(post("/large") + post("/nothing"))
            await client.until(b"\r\n\r\n")
            assert await idle.rest() == b""  # so limits have been looked at meanwhile
            rest = await client.rest()
            assert rest.startswith(b"x" * LARGE_BYTES) and b"unknown_url" in rest

    run_on(loop)(scene())


@loops
@pytest.mark.parametrize("size", [300_000, 400_000, 500_000, 2_000_000])
def test_behind_a_body_that_came_at_once_the_connection_is_read_on(loop: str, size: int) -> None:
    """It may be whole before it is asked for, and so large that reading was paused."""
    first_may_end = asyncio.Event()

    async def first(inbound: Inbound) -> None:
        inbound.begin(200, {}, None)
        inbound.write(b"begun")
        await first_may_end.wait()
        inbound.end()

    async def scene() -> None:
        first_may_end.clear()
        async with hot_path({"/first": first, "/repeat": repeat}) as serving, connected(serving.port) as client:
            await client.send(post("/first"))
            await client.until(b"begun")
            sending = asyncio.ensure_future(client.send(post("/repeat", b"b" * size)))
            await serving_somebody(serving.port, 20)
            first_may_end.set()
            await client.until(b"0\r\n\r\n")
            await client.until(b">")
            await sending
            await client.send(post("/repeat", b"next"))
            await client.until(b"<next>")

    run_on(loop)(scene())


@loops
@pytest.mark.parametrize("path", ["/repeat", "/application"])
def test_a_half_read_request_has_its_answer_though_the_server_stops(loop: str, path: str) -> None:
    async def application(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"<%b>" % await request.read())

    async def scene() -> None:
        routes = [web.post("/application", application)]
        async with (
            hot_path({"/repeat": repeat}, routes, linger_s=LIMIT_S) as serving,
            connected(serving.port) as client,
            connected(serving.port) as idle,
        ):
            raw = post(path, b"0123456789")
            await client.send(raw[:-5])
            await serving_somebody(serving.port, 3)
            serving.stop.set()
            assert await idle.rest() == b""  # so it has heard of it
            await client.send(raw[-5:] + post(path, b"another"))
            answer = await client.rest()
            assert b"<0123456789>" in answer and b"another" not in answer
            await serving.ended()

    run_on(loop)(scene())


@loops
def test_a_connection_made_as_the_server_stops_does_not_hold_it_up(loop: str) -> None:
    """As one whose TLS handshake took longer than the server has lived."""

    async def scene() -> None:
        api = Api({})
        server = Server(Routes({}), api.answer, api.refuse, None, {}, Pace(), Watch())  # type: ignore[arg-type]
        listening = await asyncio.get_running_loop().create_server(
            lambda: Connection(server, asyncio.get_running_loop()), "127.0.0.1", 0
        )
        await server.close(0)
        async with connected(listening.sockets[0].getsockname()[1]) as client:
            assert await client.rest() == b""
        await asyncio.wait_for(server.close(0), LIMIT_S)
        listening.close()

    run_on(loop)(scene())


@loops
def test_what_comes_for_a_client_that_has_just_left_complains_of_nothing(loop: str) -> None:
    """Between a connection's loss and its handler's end an upstream may still write."""
    written: list[bytes] = []

    async def held(inbound: Inbound) -> None:
        inbound.begin(200, {}, None)
        inbound.write(b"begun")
        try:
            await asyncio.Event().wait()
        finally:
            inbound.write(b"too late")
            written.append(b"too late")

    async def scene() -> None:
        async with hot_path({"/held": held}) as serving, connected(serving.port) as client:
            await client.send(post("/held"))
            await client.until(b"begun")
            client.leave()
            await observed(serving, 1)
            assert written == [b"too late"]
        written.clear()

    run_on(loop)(scene())


@loops
def test_much_that_comes_before_a_websocket_is_opened_is_all_read(loop: str) -> None:
    """No client may send so early; one that does holds up nobody, itself not either."""
    size, frames = 60_000, 20
    may_open = asyncio.Event()

    async def socket(request: web.Request) -> web.StreamResponse:
        await may_open.wait()
        response = web.WebSocketResponse()
        await response.prepare(request)
        for _ in range(frames):
            assert len(await response.receive_bytes()) == size
        await response.send_str("all")
        await response.close()
        return response

    async def scene() -> None:
        may_open.clear()
        async with hot_path({}, [web.get("/socket", socket)]) as serving, connected(serving.port) as client:
            upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            head = f"GET /socket HTTP/1.1\r\nHost: here\r\n{upgrade}{key}\r\n".encode()
            frame = b"\x82\xfe" + size.to_bytes(2) + bytes(4) + bytes(size)
            sending = asyncio.ensure_future(client.send(head + frame * frames))
            await serving_somebody(serving.port, 20)
            may_open.set()
            await client.until(b"all")
            await sending

    run_on(loop)(scene())


async def serving_somebody(port: int, times: int) -> None:
    """Others are answered, so that what was sent before has been read."""
    for _ in range(times):
        async with connected(port) as other:
            await other.send(post("/nothing"))
            await other.until(b"unknown_url")


async def serving_nobody(port: int) -> None:
    """Until the server has none but the connection that asks."""
    await until(lambda: _open_at(port) == 0, lambda: "the server's end to be closed", limit_s=LIMIT_S)


def _open_at(port: int) -> int:
    """Established connections of which the server still has its end."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[1].partition(":")[2], 16) == port and row[3] != "0A" and row[9] != "0" for row in rows)
