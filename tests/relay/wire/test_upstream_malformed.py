"""Upstreams that do not speak HTTP, or stop speaking it: whose fault that is, and that nothing of it is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay.errors import BadUpstream, Reset
from relay.wire.flow import Source
from relay.wire.origin import Origin
from tests.relay.wire.scene import Basin, Run, connections, send
from tests.relay.wire.scripted import Peer, scripted

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "bare LF after the status": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi",
    "bare LF after a field": b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nhi",
    "bare LF after the head": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nhi",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "the same length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "chunks twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxxx",
    "another coding before": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi",
    "a length with a plus": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
    "an empty length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhi",
    "a length beyond all": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhi",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
    "a folded field": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi",
    "no name": b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nhi",
    "a null in a field": b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 2\r\n\r\nhi",
    "a CR in a field": b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 2\r\n\r\nhi",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    "a bare 101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "no HTTP": b"<html>hello</html>",
    "TLS": b"\x15\x03\x03\x00\x02\x02\x28",
    "a long field": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 65536 + b"\r\nContent-Length: 2\r\n\r\nhi",
    "a field without end": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000,
    "a long reason": b"HTTP/1.1 200 " + b"a" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nhi",
    "long fields": b"HTTP/1.1 200 OK\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"a" * 1000) for n in range(70)) + b"\r\n",
    "a flood of fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 257 + b"Content-Length: 2\r\n\r\nhi",
    "fields in many heads": (b"HTTP/1.1 103 Hints\r\n" + b"A: b\r\n" * 26 + b"\r\n") * 10 + b"HTTP/1.1 200 OK\r\n",
    "heads without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_http_is_the_upstreams_fault(run: Run, name: str, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        raw = MALFORMED[name]
        await peer.say(*(raw[at : at + 30_000] for at in range(0, len(raw), 30_000)))
        assert await peer.gone() == b""

    async def scene() -> None:
        async with scripted(script, tmp_path / "s") as upstream, connections() as upstreams:
            with pytest.raises(BadUpstream) as raised:
                await send(upstreams, Origin.on_socket(str(tmp_path / "s")))
            assert (raised.value.code, type(raised.value)) == ("upstream_reset", BadUpstream)
            assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"
            assert len(upstream.peers) == 1

    run(scene())


BROKEN_CHUNKS = {
    "no size": b"\r\nx\r\n",
    "no hex": b"g\r\nx\r\n",
    "0x": b"0x1\r\nx\r\n",
    "a minus": b"-1\r\nx\r\n",
    "a space": b"1 \r\nx\r\n",
    "a size beyond all": b"fffffffffffffffff\r\nx\r\n",
    "a length among the trailers": b"0\r\nContent-Length: 5\r\n\r\n",
    "bare LF after a size": b"1\nx\r\n",
    "bare LF after a chunk": b"1\r\nx\n",
    "too many bytes": b"1\r\nxy\r\n",
    "an extension without end": b"1;" + b"a" * 140_000,
    "a trailer without end": b"0\r\nA: " + b"a" * 140_000,
    "trailers without end": b"0\r\n" + b"A: b\r\n" * 30_000,
}


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
@pytest.mark.parametrize("flows", [False, True])
def test_chunks_that_break_are_good_until_they_do(run: Run, name: str, flows: bool, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        raw = b"5\r\nhello\r\n" + BROKEN_CHUNKS[name]
        await peer.say(CHUNKED, *(raw[at : at + 30_000] for at in range(0, len(raw), 30_000)))
        assert await peer.gone() == b""

    async def scene() -> None:
        async with scripted(script, tmp_path / "s"), connections() as upstreams:
            source = await send(upstreams, Origin.on_socket(str(tmp_path / "s")))
            basin = Basin()
            with pytest.raises(BadUpstream) as raised:
                await (source.flow(basin, 20) if flows else _into(basin, source))
            assert (raised.value.code, type(raised.value)) == ("upstream_broken", BadUpstream)
            assert basin.bytes[:5] == b"hello"
            assert len(basin.bytes) <= 6
            assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"

    run(scene())


TOO_SHORT = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
    "between chunks": CHUNKED + b"5\r\nhello\r\n",
    "within a chunk": CHUNKED + b"9\r\nhello",
}


@pytest.mark.parametrize("said", TOO_SHORT.values(), ids=TOO_SHORT)
@pytest.mark.parametrize("flows", [False, True])
@pytest.mark.parametrize("how", ["end", "reset"])
def test_an_answer_that_ends_too_soon_is_broken(run: Run, said: bytes, flows: bool, how: str) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        await read.wait()
        peer.finish() if how == "end" else peer.reset()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            source = await send(upstreams, Origin("127.0.0.1", upstream.port))
            basin = Telling(read)
            with pytest.raises(Reset) as raised:
                await (source.flow(basin, 20) if flows else _into(basin, source))
            assert (raised.value.code, basin.bytes) == ("upstream_broken", b"hello")

    run(scene())


async def _into(basin: Basin, source: Source) -> None:
    while piece := await source.next(20):
        basin.write(piece)


class Telling(Basin):
    """Says that something came."""

    def __init__(self, came: asyncio.Event) -> None:
        super().__init__()
        self._came = came

    def write(self, piece: bytes) -> None:
        super().write(piece)
        self._came.set()
