"""Answers on their way to the client: whole and unchanged, or plainly broken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from aiohttp import web

from relay.answer import Made
from relay.call import BodyLimits, Call
from relay.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES, TRANSCRIPTIONS, Endpoint
from relay.limits import Limits
from relay.stream import ask, relay
from relay.wire.inbound import Inbound
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.relay.serving import serving

LARGE = b"x" * 3_000_000  # more than is held before it passes on
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
ASKED = b'{"model": "m", "input": "x"}'
CHATTED = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": true}'


@contextlib.asynccontextmanager
async def upstream(answer: bytes, mutters: bytes = b"") -> AsyncIterator[str]:
    """What answers every request with these bytes, and closes, or says one thing again until nobody listens."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            while mutters:
                writer.write(mutters)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def fetch(host: str, port: int, body: bytes, version: bytes = b"1.1") -> tuple[bytes, bytes, bool]:
    """The answer's head and body as they came, and whether the connection ended in order."""
    reader, writer = await asyncio.open_connection(host, port)
    head = b"POST /x HTTP/%s\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n" % version
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    read, orderly = bytearray(), True
    try:
        async with asyncio.timeout(90):
            while piece := await reader.read(65536):
                read += piece
    except ConnectionError:
        orderly = False
    writer.close()
    told, _, rest = bytes(read).partition(b"\r\n\r\n")
    return told, rest, orderly


async def relayed(
    answer: bytes, endpoint: Endpoint = EMBEDDINGS, body: bytes = ASKED, version: bytes = b"1.1", mutters: bytes = b""
) -> tuple[bytes, bytes, bool]:
    limits = Limits(5, 5, 0.5 if mutters else 5)
    with contextlib.closing(Upstreams(None, Watch())) as upstreams:
        async with upstream(answer, mutters) as url:

            async def handle(inbound: Inbound) -> None:
                with await Call.read(inbound, endpoint, BodyLimits()) as call:
                    async with await ask(upstreams, Origin.of(url), "/x", call, {}, limits) as found:
                        await relay(inbound, found, call)

            async with serving([], {"/x": handle}) as served:
                return await fetch(served.host, served.port, body, version)


async def test_a_large_answer_passes_whole_and_with_its_length() -> None:
    head, body, orderly = await relayed(HEAD + b"Content-Length: %d\r\n\r\n" % len(LARGE) + LARGE)
    assert b"Content-Length: %d" % len(LARGE) in head
    assert orderly
    assert body == LARGE


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 4000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3d0900\r\n"]
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_large_answer_that_breaks_never_looks_complete(framing: bytes, version: bytes) -> None:
    head, body, orderly = await relayed(HEAD + framing + LARGE, version=version)
    assert not orderly or b"Content-Length: 4000000" in head or b"chunked" in head
    assert len(body) < 4_000_000
    assert not body.endswith(b"0\r\n\r\n")


async def test_a_compressed_answer_is_refused_since_nobody_asked_for_it() -> None:
    head, body, _ = await relayed(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")
    assert head.startswith(b"HTTP/1.1 502")
    assert orjson.loads(body)["error"]["code"] == "upstream_encoding"


async def test_the_error_in_a_broken_stream_is_not_cut_by_the_streams_length() -> None:
    head, body, _ = await relayed(EVENTS + b"Content-Length: 30\r\n\r\ndata: {}\n\n", CHAT, CHATTED)
    assert b"Content-Length" not in head
    assert b'data: {"error":{' in body
    assert not body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("mutters", [b": one moment\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'])
@pytest.mark.parametrize("endpoint", [RESPONSES, MESSAGES, COMPLETIONS])
async def test_comments_for_ever_are_no_answer(endpoint: Endpoint, mutters: bytes) -> None:
    asked = (
        b'{"model": "m", "prompt": "x", "input": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}'
    )
    _, body, _ = await relayed(EVENTS + b"\r\nevent: begun\ndata: {}\n\n", endpoint, asked, mutters=mutters)
    assert b"signs of life" in body[-1000:]


async def test_a_bug_in_the_middle_of_an_answer_does_not_put_a_second_one_into_it() -> None:
    async def rest() -> AsyncIterator[bytes]:
        yield b"second"
        raise LookupError("a bug")

    async def handle(inbound: Inbound) -> None:
        with await Call.read(inbound, EMBEDDINGS, BodyLimits()) as call:
            await relay(inbound, Made(b"first", rest=rest()), call)

    async with serving([], {"/x": handle}) as served:
        _, body, _ = await fetch(served.host, served.port, ASKED)
    assert b"HTTP/1.1" not in body
    assert not body.endswith(b"0\r\n\r\n")


async def test_a_form_whose_way_is_slow_is_not_given_up_while_it_moves() -> None:
    """The upstream takes a piece at a time, each well within the limit, and longer than that in all."""
    limits, taken, upstreams = Limits(5, head_s=1.5, gap_s=5), 0, Upstreams(None, Watch())

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal taken
        due = asyncio.get_running_loop().time()
        async for piece in request.content.iter_any():
            taken += len(piece)
            due += len(piece) / 16_000_000
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        return web.json_response({"text": "heard"})

    async def handle(inbound: Inbound) -> None:
        with await Call.read(inbound, TRANSCRIPTIONS, BodyLimits()) as call:
            async with await ask(upstreams, Origin.of(behind.url), "/x", call, {}, limits) as found:
                await relay(inbound, found, call)

    fields = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; '
    form = fields + b'name="file"; filename="a.wav"\r\n\r\n' + b"RIFF" * 12_000_000 + b"\r\n--b--\r\n"
    async with (
        aiohttp.ClientSession() as session,
        serving([web.post("/x", slow)]) as behind,
        serving([], {"/x": handle}) as served,
        session.post(
            f"{served.url}/x", data=form, headers={"Content-Type": "multipart/form-data; boundary=b"}
        ) as response,
    ):
        assert (response.status, await response.json()) == (200, {"text": "heard"})
    upstreams.close()
    assert taken == len(form)
