"""Callers that leave, at any moment, and answers that are closed: nothing is left of them, and nobody is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relay.errors import Reset
from relay.wire.flow import Source
from relay.wire.origin import Origin
from tests.relay.wire.scene import Narrow, Run, connections, flowing, send, whole
from tests.relay.wire.scripted import Peer, Scripted, scripted

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def at(upstream: Scripted) -> Origin:
    return Origin("127.0.0.1", upstream.port)


async def _head(upstreams: Any, upstream: Scripted) -> None:
    await send(upstreams, at(upstream))


async def _next(upstreams: Any, upstream: Scripted) -> None:
    await _closing(await send(upstreams, at(upstream)), whole)


async def _flow(upstreams: Any, upstream: Scripted) -> None:
    await _closing(await send(upstreams, at(upstream)), flowing)


async def _full(upstreams: Any, upstream: Scripted) -> None:
    async def flow(source: Source) -> None:
        basin = Narrow()
        basin.has_room.clear()
        await source.flow(basin, 20)

    await _closing(await send(upstreams, at(upstream)), flow)


async def _closing(source: Source, read: Callable[[Source], Coroutine[Any, Any, Any]]) -> None:
    try:
        await read(source)
    finally:
        source.close()
        source.close()


@pytest.mark.parametrize(
    ("said", "step"),
    [(b"", _head), (b"HTTP/1.1 2", _head), (CHUNKED, _next), (CHUNKED, _flow), (CHUNKED + b"1\r\nx\r\n", _full)],
)
def test_a_caller_that_leaves_closes_the_connection(run: Run, said: bytes, step: Callable[..., Any]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(said)
        said_all.set()
        assert await peer.gone() == b""
        left.set()

    said_all, left = asyncio.Event(), asyncio.Event()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            task = asyncio.create_task(step(upstreams, upstream))
            await said_all.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await left.wait()
            assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"

    run(scene())


def test_a_caller_that_leaves_at_any_moment(run: Run) -> None:
    """Cancelled after 0, 1, 2, ... turns of the loop, connection and answer included."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.say(CHUNKED, b"5\r\nhello\r\n", b"5\r\nagain\r\n0\r\n\r\n")

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            ended = 0
            for turns in range(60):
                task = asyncio.create_task(_flow(upstreams, upstream))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    await task
                    ended += 1
                except asyncio.CancelledError:
                    pass
                assert " 0 busy" in repr(upstreams)
            assert ended
            assert await whole(await send(upstreams, at(upstream))) == b"helloagain"

    run(scene())


def test_an_answer_read_to_its_end_is_closed_without_harm(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsec")
        await closed.wait()
        await peer.say(b"ond")
        await peer.gone()

    closed = asyncio.Event()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            first = await send(upstreams, at(upstream))
            second = await send(upstreams, at(upstream))
            assert await whole(first) == b"first"
            first.close()
            closed.set()
            assert await whole(second) == b"second"
            assert len(upstream.peers) == 1

    run(scene())


def test_an_answer_closed_under_its_reader(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            source = await send(upstreams, at(upstream))
            reading = asyncio.create_task(whole(source))
            await asyncio.sleep(0)
            source.close()
            with pytest.raises(Reset):
                await reading

    run(scene())
