"""Which connection a request goes out on: a kept one, or another; and what becomes of it afterwards."""

from __future__ import annotations

import asyncio
import socket

import pytest

from relay.errors import BadUpstream, ConnectFailed, Reset
from relay.wire.origin import Origin
from tests.relay.wire.scene import BODY, LIMITS, Clock, Run, connections, question, send, settled, whole
from tests.relay.wire.scripted import Peer, Scripted, scripted

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def at(upstream: Scripted) -> Origin:
    return Origin("127.0.0.1", upstream.port)


async def polite(peer: Peer) -> None:
    """Answers each request."""
    while await peer.request():
        await peer.say(HELLO)


def test_a_request_goes_out_as_it_was_given(run: Run) -> None:
    async def script(peer: Peer) -> None:
        assert await peer.request() == question() + BODY
        await peer.say(HELLO)

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            source = await send(upstreams, at(upstream))
            assert (source.status, source.length, await whole(source)) == (200, 5, b"hello")
            assert source.content_type == "application/octet-stream"
            await settled(upstreams, "0 busy, 0 kept")  # the script is at its end, and so is its connection

    run(scene())


def test_fields_are_found_in_any_case(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        fields = b"content-TYPE:  Text/Event-Stream; a=b \r\nX: one\r\nx: two\r\nY: caf\xc3\xa9\r\nZ: \xff\r\n"
        await peer.say(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 0\r\n\r\n")

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            source = await send(upstreams, at(upstream))
            found = [source.headers.get(name) for name in ("Content-Type", "x", "X", "y", "z", "none")]
            assert found == ["Text/Event-Stream; a=b", "one", "one", "café", "\udcff", None]
            assert source.content_type == "text/event-stream"

    run(scene())


def test_the_last_used_connection_is_used_first(run: Run) -> None:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % peer.number)

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            sources = [await send(upstreams, at(upstream)) for _ in range(3)]
            assert [await whole(source) for source in sources] == [b"0", b"0", b"0"]  # each whole as its head came
            first, second = await asyncio.gather(send(upstreams, at(upstream)), send(upstreams, at(upstream)))
            assert sorted([await whole(first), await whole(second)]) == [b"0", b"1"]
            last = upstream.peers[1 if await whole(await send(upstreams, at(upstream))) == b"1" else 0].number
            assert await whole(await send(upstreams, at(upstream))) == b"%d" % last
            assert repr(upstreams) == "<Upstreams 0 busy, 2 kept>"

    run(scene())


def test_origins_do_not_share(run: Run) -> None:
    async def scene() -> None:
        async with scripted(polite) as one, scripted(polite) as other, connections() as upstreams:
            for upstream in (one, other, one, other):
                assert await whole(await send(upstreams, at(upstream))) == b"hello"
            assert (len(one.peers), len(other.peers)) == (1, 1)

    run(scene())


def test_an_origin_that_is_not_kept(run: Run) -> None:
    async def scene() -> None:
        async with scripted(polite) as upstream, connections() as upstreams:
            for number in range(3):
                assert await whole(await send(upstreams, Origin("127.0.0.1", upstream.port, keep=False))) == b"hello"
                assert (len(upstream.peers), repr(upstreams)) == (number + 1, "<Upstreams 0 busy, 0 kept>")

    run(scene())


def test_an_idle_connection_is_closed_in_time(run: Run) -> None:
    async def scene() -> None:
        clock = Clock()
        async with scripted(polite) as upstream, connections(clock) as upstreams:
            await whole(await send(upstreams, at(upstream)))
            clock.passes(14.9)
            assert repr(upstreams) == "<Upstreams 0 busy, 1 kept>"
            clock.passes(0.2)
            assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"

    run(scene())


@pytest.mark.parametrize("how", ["end", "reset", "bytes", "an answer", "an empty line"])
def test_an_idle_connection_that_does_anything_is_not_used_again(run: Run, how: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HELLO)
        if peer.number == 0:
            await kept.wait()
            if how == "end":
                peer.finish()
            elif how == "reset":
                peer.reset()
            else:
                await peer.say({"bytes": b"x", "an answer": HELLO, "an empty line": b"\r\n"}[how])
        await peer.gone()

    kept = asyncio.Event()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            await whole(await send(upstreams, at(upstream)))
            assert repr(upstreams) == "<Upstreams 0 busy, 1 kept>"
            kept.set()
            await settled(upstreams, "0 busy, 0 kept")
            assert await whole(await send(upstreams, at(upstream), may_repeat=False)) == b"hello"
            assert len(upstream.peers) == 2

    run(scene())


async def closes_the_second(peer: Peer) -> None:
    """Answers once; the next request on the same connection finds it closing."""
    await peer.request()
    await peer.say(HELLO)
    await peer.head()
    peer.reset()


def test_a_kept_connection_closed_as_we_send_is_replaced_once(run: Run) -> None:
    async def scene() -> None:
        async with scripted(closes_the_second) as upstream, connections() as upstreams:
            for number in range(3):
                assert await whole(await send(upstreams, at(upstream))) == b"hello"
                assert len(upstream.peers) == number + 1

    run(scene())


def test_what_may_not_be_repeated_is_not(run: Run) -> None:
    async def scene() -> None:
        async with scripted(closes_the_second) as upstream, connections() as upstreams:
            await whole(await send(upstreams, at(upstream)))
            with pytest.raises(Reset) as raised:
                await send(upstreams, at(upstream), may_repeat=False)
            assert (raised.value.code, len(upstream.peers)) == ("upstream_reset", 1)

    run(scene())


@pytest.mark.parametrize("byte", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_after_a_byte_of_the_answer_nothing_is_repeated(run: Run, byte: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(HELLO)
        await peer.request()
        await peer.say(byte)
        peer.finish()
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            await whole(await send(upstreams, at(upstream)))
            with pytest.raises(Reset):
                await send(upstreams, at(upstream))
            assert len(upstream.peers) == 1

    run(scene())


def test_a_new_connection_that_closes_is_not_replaced(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            with pytest.raises(Reset) as raised:
                await send(upstreams, at(upstream))
            assert (raised.value.code, len(upstream.peers)) == ("upstream_reset", 1)

    run(scene())


def test_a_connection_that_is_closed_as_it_is_made(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.reset()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            for _ in range(20):
                with pytest.raises(Reset):
                    await send(upstreams, at(upstream))

    run(scene())


def test_an_upstream_that_speaks_first(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.say(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            with pytest.raises(BadUpstream) as raised:
                await send(upstreams, at(upstream))
            assert raised.value.code == "upstream_reset"

    run(scene())


def test_closing_ends_whatever_goes_on(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.say(HELLO[:-1])
        asked.release()
        await peer.gone()

    asked = asyncio.Semaphore(0)

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            waiting = asyncio.create_task(send(upstreams, at(upstream)))
            await asked.acquire()
            reading = asyncio.create_task(whole(await send(upstreams, at(upstream))))
            await asked.acquire()
            upstreams.close()
            for task in (waiting, reading):
                with pytest.raises(Reset):
                    await task
            with pytest.raises(ConnectFailed):
                await send(upstreams, at(upstream))

    run(scene())


def test_connections_send_at_once(run: Run) -> None:
    """A small request must not wait for the acknowledgement of another."""

    async def scene() -> None:
        async with scripted(polite) as upstream, connections() as upstreams:
            source = await upstreams.send(at(upstream), question(), BODY, LIMITS, may_repeat=True)
            await whole(source)
            (line,) = upstreams._shelves[at(upstream)].lines
            sock = line._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(scene())
