"""The same connection under TLS: trains cut anywhere, refusals that can be read, clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from relay.answering import Api
from relay.http import make_app
from relay.serving import serve
from relay.wire.inbound import Inbound
from tests.relay.wire.certificate import make_certificate
from tests.wire.rows import CHAT, HEALTH, HOST, got, message, posted

LIMIT_S = 90


class Served:
    """A server whose API repeats its body, or holds on for as long as its client stays; and that client's end."""

    def __init__(self, folder: Path) -> None:
        self.certificate = make_certificate(folder, ["127.0.0.1"])
        self.port = asyncio.get_running_loop().create_future()
        self.left = asyncio.Event()

    async def chat(self, inbound: Inbound) -> None:
        body = b""
        while piece := await inbound.read_piece():
            body += piece
        if b"hold" not in body:
            inbound.respond(200, {"Content-Type": "application/json"}, body)
            return
        inbound.begin(200, {"Content-Type": "text/event-stream"}, None)
        inbound.write(b"data: 1\n\n")
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made, stop = Served(tmp_path), asyncio.Event()

    async def health(_: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ready"})

    app = make_app([web.get(HEALTH, health)], body_limit_bytes=1000)
    ready = lambda _, port: made.port.set_result(port)  # noqa: E731
    api, tls = Api({CHAT: made.chat}), made.certificate.server
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, api=api, stop=stop, on_ready=ready, tls=tls, linger_s=0))
    try:
        yield made
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def connected(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", await served.port, ssl=served.certificate.client)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


async def test_trains_of_requests_however_they_are_cut(served: Served) -> None:
    raw = posted("api", "one") + got() + posted("api", "three")
    async with connected(served) as (reader, writer):
        for cut in (*range(1, len(raw), 7), len(raw)):
            writer.write(raw[:cut])
            await asyncio.sleep(0)
            writer.write(raw[cut:])
            for word in (b"one", b"ready", b"three"):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                assert word in await reader.readexactly(int(length.partition(b":")[2]))


@pytest.mark.parametrize("raw", [b"NONSENSE\r\n\r\n", message(f"POST {CHAT} HTTP/1.1", HOST, "Content-Length: -1")])
async def test_a_refusal_can_be_read(served: Served, raw: bytes) -> None:
    async with connected(served) as (reader, writer):
        writer.write(raw + b"x" * 1_000_000)
        answer = await reader.readuntil(b"}}")
        assert answer.startswith(b"HTTP/1.1 400 ") and b"\r\nConnection: close\r\n" in answer


async def test_plain_http_on_a_port_for_tls(served: Served) -> None:
    """No answer that could be read, and the end; the next one is served."""
    reader, writer = await asyncio.open_connection("127.0.0.1", await served.port)
    async with asyncio.timeout(LIMIT_S):
        writer.write(got())
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 200" not in await reader.read()
        writer.close()
    async with connected(served) as (reader, writer):
        writer.write(got())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_takes_its_request_with_it(served: Served) -> None:
    async with connected(served) as (reader, writer):
        writer.write(posted("api", "hold"))
        await reader.readuntil(b"data: 1\n\n")
    await asyncio.wait_for(served.left.wait(), LIMIT_S)
