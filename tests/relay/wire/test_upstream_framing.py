"""Answers of each framing, however their bytes are cut. Not here: what is no HTTP (test_upstream_malformed)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.wire.origin import Origin
from tests.relay.wire.scene import LIMITS, Basin, Run, connections, flowing, run_on, send, settled, whole
from tests.relay.wire.scripted import Peer, scripted

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = b"Content-Length: 5\r\n\r\nhello"
KEPT = {  # answers that leave their connection as good as new: status, payload
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    "no bytes": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "chunks": (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 200, b"hello"),
    "extensions": (CHUNKED + b'3;a=b\r\nhel\r\n02;c;d="e"\r\nlo\r\n0;f\r\n\r\n', 200, b"hello"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nDigest: x\r\nSet-Cookie: y\r\n\r\n", 200, b"hello"),
    "upper case": (b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n", 200, b"0123456789"),  # noqa: E501
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
    "100 and 103": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n" + HELLO,
        200,
        b"hello",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "an error": (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", 503, b"busy"),
    "1.0, kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
}  # fmt: skip
LAST = {  # answers after which the connection closes, and who closes it: the upstream or us
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nhello", 200, b"hello", "upstream"),
    "1.0 until the end": (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", 200, b"hello", "upstream"),
    "1.0 with a length": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", "us"),
    "close, with a length": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + HELLO, 200, b"hello", "us"),
    "close, in chunks": (CHUNKED[:-2] + b"Connection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, b"hello", "us"),
    "surplus": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloX", 200, b"hello", "us"),
    "surplus after close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + HELLO + b"X", 200, b"hello", "us"),
    "an answer too many": (KEPT["length"][0] * 2, 200, b"hello", "us"),
}  # fmt: skip


def cut(raw: bytes, *places: int) -> list[bytes]:
    ends = sorted({0, len(raw), *places})
    return [raw[start:end] for start, end in pairwise(ends)]


@pytest.mark.parametrize("name", KEPT)
def test_an_answer_is_the_same_wherever_it_is_cut(run: Run, name: str, tmp_path: Path) -> None:
    """At every boundary, and byte by byte, all on one connection; read in pieces, and flowing."""
    raw, status, payload = KEPT[name]
    cuts = [cut(raw, place) for place in range(len(raw))] + [cut(raw, *range(len(raw)))]

    async def script(peer: Peer) -> None:
        for parts in cuts * 2:
            await peer.request()
            await peer.say(*parts)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script, tmp_path / "s") as upstream, connections() as upstreams:
            for read in (whole, flowing):
                for parts in cuts:
                    source = await send(upstreams, Origin.on_socket(str(tmp_path / "s")))
                    assert (source.status, await read(source)) == (status, payload), parts
                    assert source.ended
            assert (len(upstream.peers), repr(upstreams)) == (1, "<Upstreams 0 busy, 1 kept>")

    run(scene())


@pytest.mark.parametrize("name", LAST)
def test_a_last_answer_is_the_same_wherever_it_is_cut(run: Run, name: str, tmp_path: Path) -> None:
    raw, status, payload, closer = LAST[name]
    cuts = [cut(raw, place) for place in range(len(raw))]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*cuts[peer.number % len(cuts)])
        if closer == "upstream":
            peer.finish()
        assert await peer.gone() == b""

    async def scene() -> None:
        async with scripted(script, tmp_path / "s") as upstream, connections() as upstreams:
            for read in (whole, flowing):
                for parts in cuts:
                    source = await send(upstreams, Origin.on_socket(str(tmp_path / "s")))
                    assert (source.status, await read(source)) == (status, payload), parts
                    await settled(upstreams, "0 busy, 0 kept")  # at once, or as surplus comes that was cut off
            assert len(upstream.peers) == 2 * len(cuts)

    run(scene())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_answers_on_one_connection_cut_anyhow(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(KEPT)), min_size=1, max_size=5))
    parts = [_cut_anyhow(data, KEPT[name][0]) for name in names]
    path = tmp_path_factory.mktemp("any") / "s"

    async def script(peer: Peer) -> None:
        for each in parts:
            await peer.request()
            await peer.say(*each)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script, path) as upstream, connections() as upstreams:
            for at, name in enumerate(names):
                source = await send(upstreams, Origin.on_socket(str(path)))
                assert (source.status, await (flowing if at % 2 else whole)(source)) == KEPT[name][1:]
            assert len(upstream.peers) == 1

    run_on(data.draw(st.sampled_from(["asyncio", "uvloop"])))(scene())


def _cut_anyhow(data: st.DataObject, raw: bytes) -> Sequence[bytes]:
    return cut(raw, *data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))


def test_all_of_a_read_is_one_piece(run: Run, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED, b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n", b"1\r\nd\r\n1\r\ne\r\n0\r\n\r\n")
        await peer.gone()

    async def scene() -> None:
        async with scripted(script, tmp_path / "s"), connections() as upstreams:
            source = await send(upstreams, Origin.on_socket(str(tmp_path / "s")))
            basin = Basin()
            await source.flow(basin, 20)
            assert basin.pieces == [b"ab", b"c", b"de"]

    run(scene())


def test_an_answer_to_head_ends_with_its_head(run: Run, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.request()).startswith(b"HEAD ")
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await peer.gone()

    async def scene() -> None:
        async with scripted(script, tmp_path / "s"), connections() as upstreams:
            head = b"HEAD / HTTP/1.1\r\nHost: upstream\r\n\r\n"
            source = await upstreams.send(Origin.on_socket(str(tmp_path / "s")), head, b"", LIMITS, may_repeat=True)
            assert (source.length, await whole(source), repr(upstreams)) == (5, b"", "<Upstreams 0 busy, 0 kept>")

    run(scene())
