"""What came back, whatever it came from: its first bytes at hand, the rest in pieces or flowing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from relay.answer import Answer, Made, Relayed
from relay.errors import BadUpstream, Reset, UpstreamTimeout
from relay.web_source import WebSource
from relay.wire.flow import Source
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from tests.relay.wire.scene import LIMITS, Basin, connections, send
from tests.relay.wire.scripted import Peer, Script, Scripted, scripted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def saying(*parts: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*parts)
        await peer.gone()

    return script


async def asked(upstream: Scripted, upstreams: Upstreams | aiohttp.ClientSession) -> Source:
    if isinstance(upstreams, Upstreams):
        return await send(upstreams, Origin("127.0.0.1", upstream.port))
    return WebSource(await upstreams.post(f"http://127.0.0.1:{upstream.port}", data=b"{}"))


@pytest.fixture(params=["wire", "web"])
async def upstreams(request: pytest.FixtureRequest) -> AsyncIterator[Upstreams | aiohttp.ClientSession]:
    """Both kinds of a source."""
    if request.param == "wire":
        async with connections() as made:
            yield made
    else:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield session


async def all_of(answer: Answer, flows: bool) -> bytes:
    basin = Basin()
    if flows:
        await answer.flow(basin)
    else:
        async for piece in answer.pieces():
            basin.write(piece)
    return basin.bytes


@pytest.mark.parametrize("flows", [False, True])
async def test_a_stream(upstreams: Upstreams | aiohttp.ClientSession, flows: bool) -> None:
    async with scripted(saying(HEAD, b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n")) as upstream:
        answer = Relayed(await asked(upstream, upstreams), LIMITS)
        async with answer:
            await answer.begin(flows=False)
            assert answer.first.startswith(b"first")
            assert (answer.streamed, answer.length) == (True, None)
            assert answer.headers() == {"Content-Type": "text/event-stream"}
            assert await all_of(answer, flows) == b"firstsecond"
            assert not answer.streamed


@pytest.mark.parametrize("flows", [False, True])
async def test_a_small_answer_is_all_there(upstreams: Upstreams | aiohttp.ClientSession, flows: bool) -> None:
    async with (
        scripted(
            saying(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        ) as upstream,
        Relayed(await asked(upstream, upstreams), LIMITS) as answer,
    ):
        await answer.begin(flows=False)
        assert (answer.first, answer.streamed, answer.length) == (b"{}", False, 2)
        assert await all_of(answer, flows) == b"{}"


@pytest.mark.parametrize("flows", [False, True])
async def test_a_large_answer_flows_on(upstreams: Upstreams | aiohttp.ClientSession, flows: bool) -> None:
    body = bytes(3 * 1024 * 1024)
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with scripted(saying(said, body)) as upstream, Relayed(await asked(upstream, upstreams), LIMITS) as answer:
        await answer.begin(flows=False)
        assert answer.streamed
        assert len(answer.first) < len(body)
        assert await all_of(answer, flows) == body


@pytest.mark.parametrize("flows", [False, True])
async def test_a_stream_that_breaks(upstreams: Upstreams | aiohttp.ClientSession, flows: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HEAD, b"5\r\nfirst\r\n")

    async with scripted(script) as upstream, Relayed(await asked(upstream, upstreams), LIMITS) as answer:
        await answer.begin(flows=False)
        with pytest.raises(Reset) as raised:
            await all_of(answer, flows)
        assert raised.value.code == "upstream_broken"


async def test_what_is_compressed_unasked_is_refused(upstreams: Upstreams | aiohttp.ClientSession) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx"
    async with scripted(saying(said)) as upstream, Relayed(await asked(upstream, upstreams), LIMITS) as answer:
        with pytest.raises(BadUpstream) as raised:
            await answer.begin(flows=False)
        assert raised.value.code == "upstream_encoding"


async def test_a_stream_that_ends_before_it_begins(upstreams: Upstreams | aiohttp.ClientSession) -> None:
    async with (
        scripted(saying(HEAD + b"0\r\n\r\n")) as upstream,
        Relayed(await asked(upstream, upstreams), LIMITS) as answer,
    ):
        with pytest.raises(Reset):
            await answer.begin(flows=True)


async def test_an_error_that_is_too_large(upstreams: Upstreams | aiohttp.ClientSession) -> None:
    body = bytes(300 * 1024)
    said = b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with scripted(saying(said, body)) as upstream, Relayed(await asked(upstream, upstreams), LIMITS) as answer:
        with pytest.raises(BadUpstream) as raised:
            await answer.begin(flows=False)
        assert raised.value.code == "upstream_too_large"


async def test_silence_of_either_kind(upstreams: Upstreams | aiohttp.ClientSession) -> None:
    async with scripted(saying(HEAD)) as upstream:
        source = await asked(upstream, upstreams)
        with pytest.raises(UpstreamTimeout) as raised:
            await source.next(0.1)
        assert raised.value.code == "gap_timeout"
        source.close()


async def test_what_a_node_makes_itself_flows_too() -> None:
    async def rest() -> AsyncIterator[bytes]:
        yield b"second"
        yield b"third"

    basin = Basin()
    async with Made(b"first", "text/event-stream", rest()) as answer:
        await answer.flow(basin)
    assert basin.pieces == [b"first", b"second", b"third"]
    assert basin.asked_for_room == 3
