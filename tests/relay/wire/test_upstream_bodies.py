"""Requests whose body comes in pieces, from a client that may be slow or leave, to an upstream that may have enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay.errors import BadRequest, Reset, UpstreamTimeout
from relay.wire.flow import Source
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from tests.programs import until
from tests.relay.wire.scene import LIMITS, Clock, Run, connections, question, send, settled, whole
from tests.relay.wire.scripted import Peer, Scripted, scripted

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PIECE = b"p" * 32 * 1024


class Upload:
    """A body in pieces. `ended` once it was let go of, by its reader or at its end."""

    def __init__(self, count: int, failure: Exception | None = None, pace: asyncio.Semaphore | None = None) -> None:
        self.count = count
        self.given = 0
        self.ended = asyncio.Event()
        self._failure = failure
        self._pace = pace

    @property
    def head(self) -> bytes:
        return question(len(PIECE) * self.count)

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self.count):
                if self._pace is not None:
                    await self._pace.acquire()
                self.given += 1
                yield PIECE
            if self._failure is not None:
                raise self._failure
        finally:
            self.ended.set()


async def post(upstreams: Upstreams, upstream: Scripted, upload: Upload) -> Source:
    origin = Origin("127.0.0.1", upstream.port)
    return await upstreams.send(origin, upload.head, upload.pieces(), LIMITS, may_repeat=True)


def test_the_pieces_arrive_in_order(run: Run) -> None:
    async def script(peer: Peer) -> None:
        while got := await peer.request():
            assert got.partition(b"\r\n\r\n")[2] == PIECE * 20
            await peer.say(HELLO)

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            for number in range(3):
                upload = Upload(20)
                assert await whole(await post(upstreams, upstream, upload)) == b"hello"
                assert upload.ended.is_set()
                assert len(upstream.peers) == number + 1  # what can be sent only once gets a connection of its own

    run(scene())


def test_a_large_body_in_one(run: Run) -> None:
    async def script(peer: Peer) -> None:
        got = await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%8d" % len(got.partition(b"\r\n\r\n")[2]))
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            body = PIECE * 400
            origin = Origin("127.0.0.1", upstream.port)
            source = await upstreams.send(origin, question(len(body)), body, LIMITS, may_repeat=True)
            assert int(await whole(source)) == len(body)
            assert repr(upstreams) == "<Upstreams 0 busy, 1 kept>"

    run(scene())


def test_an_upstream_that_takes_nothing_holds_the_client_back(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await take.wait()
        await peer.request()
        await peer.say(HELLO)
        await peer.gone()

    take = asyncio.Event()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            upload = Upload(1024)
            task = asyncio.create_task(post(upstreams, upstream, upload))
            await until(lambda: upload.given > 2)
            before = -1
            while before < upload.given:  # until the sockets between are full
                before = upload.given
                for _ in range(50):
                    await asyncio.sleep(0)
            assert upload.given < 1024
            take.set()
            assert await whole(await task) == b"hello"
            assert upload.given == 1024

    run(scene())


def test_each_piece_gives_more_time(run: Run) -> None:
    """A client may take longer over its upload than an upstream over its answer."""
    clock, pace = Clock(), asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        await peer.head()
        for _ in range(12):
            pace.release()
            await peer.some(len(PIECE))
            clock.passes(15)
        await peer.say(HELLO)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections(clock) as upstreams:
            assert await whole(await post(upstreams, upstream, Upload(12, pace=pace))) == b"hello"

    run(scene())


def test_an_upload_that_stops(run: Run) -> None:
    clock = Clock()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.some(len(PIECE))
        clock.passes(21)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections(clock) as upstreams:
            upload = Upload(2, pace=asyncio.Semaphore(1))
            with pytest.raises(UpstreamTimeout) as raised:
                await post(upstreams, upstream, upload)
            assert (raised.value.code, upload.ended.is_set()) == ("head_timeout", True)

    run(scene())


def test_the_clients_own_fault_comes_out_as_it_is(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            fault = BadRequest("The request body is broken.", code="broken_body")
            with pytest.raises(BadRequest) as raised:
                await post(upstreams, upstream, Upload(2, failure=fault))
            assert raised.value is fault
            assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"

    run(scene())


def test_the_clients_fault_after_the_answer_has_begun(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(HELLO[:-1])
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            pace = asyncio.Semaphore(0)
            fault = BadRequest("The request body is broken.", code="broken_body")
            source = await post(upstreams, upstream, Upload(1, failure=fault, pace=pace))
            assert await source.next(20) == b"hell"
            pace.release()
            with pytest.raises(BadRequest):
                await source.next(20)

    run(scene())


@pytest.mark.parametrize("pace", [None, "stopped"])
def test_an_answer_before_the_body_was_sent(run: Run, pace: str | None) -> None:
    """What is left of the body is not sent, and the connection is good for nothing more."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            upload = Upload(100_000, pace=asyncio.Semaphore(3) if pace else None)
            source = await post(upstreams, upstream, upload)
            assert (source.status, await whole(source)) == (413, b"large")
            await upload.ended.wait()
            assert upload.given < 100_000
            assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"

    run(scene())


def test_an_answer_that_streams_while_the_body_is_sent(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for number in range(6):
            await peer.some(len(PIECE))
            await peer.say(b"%d" % number)
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            pace = asyncio.Semaphore(0)
            source = await post(upstreams, upstream, Upload(6, pace=pace))
            read = b""
            for _ in range(6):
                pace.release()
                read += await source.next(20)
            assert (read, await source.next(20)) == (b"012345", b"")

    run(scene())


def test_an_upstream_that_leaves_in_the_middle_of_an_upload(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.some(100_000)
        peer.reset()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            upload = Upload(100_000)
            with pytest.raises(Reset) as raised:
                await post(upstreams, upstream, upload)
            assert (raised.value.code, upload.ended.is_set()) == ("upstream_reset", True)

    run(scene())


@pytest.mark.parametrize("stopped", ["by the client", "by the upstream"])
def test_a_caller_that_leaves_lets_go_of_the_body(run: Run, stopped: str) -> None:
    async def script(peer: Peer) -> None:
        await left.wait()
        await peer.gone()

    left = asyncio.Event()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            upload = Upload(100_000, pace=asyncio.Semaphore(3) if stopped == "by the client" else None)
            task = asyncio.create_task(post(upstreams, upstream, upload))
            await until(lambda: upload.given >= 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert upload.ended.is_set()
            left.set()
            await settled(upstreams, "0 busy, 0 kept")

    run(scene())


def test_after_an_upload_a_small_request_may_use_its_connection(run: Run) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.say(HELLO)

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            await whole(await post(upstreams, upstream, Upload(3)))
            assert await whole(await send(upstreams, Origin("127.0.0.1", upstream.port))) == b"hello"
            assert len(upstream.peers) == 1

    run(scene())
