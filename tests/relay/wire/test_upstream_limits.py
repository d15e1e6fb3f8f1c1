"""Silence, slow clients and callers that leave: each ends in its own error, and nothing of it is left."""

from __future__ import annotations

import asyncio

import pytest

from relay.errors import UpstreamTimeout
from relay.wire.flow import Source, unheeded
from relay.wire.origin import Origin
from tests.programs import until
from tests.relay.wire.scene import Basin, Clock, Narrow, Run, connections, send, whole
from tests.relay.wire.scripted import Peer, Scripted, scripted

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_PIECE = b"x" * 16 * 1024


def at(upstream: Scripted) -> Origin:
    return Origin("127.0.0.1", upstream.port)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_does_not_come(run: Run, said: bytes) -> None:
    clock = Clock()

    async def script(peer: Peer) -> None:
        await peer.request()
        clock.passes(19)
        await peer.say(said)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections(clock) as upstreams:
            asking = asyncio.create_task(send(upstreams, at(upstream)))
            await until(lambda: bool(upstream.peers))
            while not asking.done():  # whatever of the answer has been heard by now
                await asyncio.sleep(0)
                clock.passes(21)
            with pytest.raises(UpstreamTimeout) as raised:
                await asking
            assert raised.value.code == "head_timeout"
            assert (len(upstream.peers), repr(upstreams)) == (1, "<Upstreams 0 busy, 0 kept>")

    run(scene())


@pytest.mark.parametrize("flows", [False, True])
def test_an_answer_that_stops(run: Run, flows: bool) -> None:
    clock = Clock()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"5\r\nhello\r\n")
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections(clock) as upstreams:
            source = await send(upstreams, at(upstream))
            basin = Basin()
            reading = asyncio.create_task(source.flow(basin, 7) if flows else into(basin, source, 7))
            await until(lambda: basin.bytes == b"hello")
            await asyncio.sleep(0)
            clock.passes(6.9)
            assert repr(upstreams) == "<Upstreams 1 busy, 0 kept>"
            clock.passes(7.1)
            with pytest.raises(UpstreamTimeout) as raised:
                await reading
            assert raised.value.code == "gap_timeout"
            assert (basin.on_full, repr(upstreams)) == (unheeded, "<Upstreams 0 busy, 0 kept>")

    run(scene())


def test_a_stream_that_goes_on_has_no_limit(run: Run) -> None:
    clock, basin = Clock(), Basin()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        for number in range(10):
            await peer.say(b"1\r\nx\r\n")
            await until(lambda: len(basin.bytes) > number)  # noqa: B023
            clock.passes(19)
        await peer.say(b"0\r\n\r\n")
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections(clock) as upstreams:
            source = await send(upstreams, at(upstream))
            await source.flow(basin, 20)
            assert basin.bytes == b"x" * 10
            assert repr(upstreams) == "<Upstreams 0 busy, 1 kept>"

    run(scene())


def test_an_answer_that_nobody_reads_has_no_limit_and_little_room(run: Run) -> None:
    """What has come waits for its reader, and the upstream is held back meanwhile."""
    clock, poured = Clock(), 0

    async def script(peer: Peer) -> None:
        nonlocal poured
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4096 * len(_PIECE)))
        for _ in range(4096):
            await peer.pour(_PIECE)
            poured += 1
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections(clock) as upstreams:
            source = await send(upstreams, at(upstream))
            clock.passes(10_000)
            await until(lambda: "paused" in repr(source._line))  # type: ignore[attr-defined]
            assert source._held_bytes < 600 * 1024  # type: ignore[attr-defined]
            assert poured < 4096
            assert len(await whole(source)) == 4096 * len(_PIECE)
            assert (poured, repr(upstreams)) == (4096, "<Upstreams 0 busy, 1 kept>")

    run(scene())


async def into(basin: Basin, source: Source, limit_s: float) -> None:
    while piece := await source.next(limit_s):
        basin.write(piece)


def test_a_full_client_holds_the_upstream_back(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * len(_PIECE)))
        for _ in range(1024):
            await peer.pour(_PIECE)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            source = await send(upstreams, at(upstream))
            basin = Narrow()
            flow = asyncio.create_task(source.flow(basin, 20))
            total = 1024 * len(_PIECE)
            while len(basin.bytes) < total:
                seen = len(basin.pieces)
                await until(lambda: len(basin.pieces) > seen)  # noqa: B023
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(basin.pieces) <= seen + 1  # one read, and no more until there is room
                basin.pieces[:] = [basin.bytes]
                basin.empty()
            await flow
            assert repr(upstreams) == "<Upstreams 0 busy, 1 kept>"

    run(scene())


@pytest.mark.parametrize("when", ["from the start", "in the middle"])
def test_a_client_that_takes_nothing(run: Run, when: str) -> None:
    """Once it flows: before that, it is `room` that gives up."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED + b"5\r\nhello\r\n")
        await spliced.wait()
        await peer.say(b"5\r\nhello\r\n")
        await peer.gone()

    clock, spliced = Clock(), asyncio.Event()

    async def scene() -> None:
        async with scripted(script) as upstream, connections(clock) as upstreams:
            source = await send(upstreams, at(upstream))
            basin = Narrow() if when == "in the middle" else Basin()
            task = asyncio.create_task(source.flow(basin, 20))
            await until(lambda: basin.asked_for_room > 0)
            basin.empty()
            await until(lambda: basin.on_full is not unheeded)
            if when == "from the start":
                basin.fill()
            spliced.set()
            await until(lambda: when == "from the start" or len(basin.pieces) == 2)
            clock.passes(20.1)
            with pytest.raises(ConnectionAbortedError):
                await task
            assert (basin.on_full, repr(upstreams)) == (unheeded, "<Upstreams 0 busy, 0 kept>")

    run(scene())
