"""Messages between the parent and a worker, whole or not at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.workers.channel import Channel, Kind, Silent
from tests.programs import until


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """A channel, and the other end as it is."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    channel = await Channel.over(ours)
    with theirs:
        yield channel, theirs
    channel.close()


def _said(text: bytes) -> bytes:
    return len(text).to_bytes(4) + text


async def test_messages_arrive_in_whatever_pieces(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    told = _said(b'["state",{"ready":true}]') + _said(b'["stop",null]')
    for byte in told:
        other.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert await channel.receive(10) == (Kind.STATE, {"ready": True})
    assert await channel.receive(10) == (Kind.STOP, None)
    await channel.send(Kind.SERVING)
    assert other.recv(100) == _said(b'["serving",null]')


@pytest.mark.parametrize("told", [b"", b"\0\0", _said(b'["stop",null]')[:-1]])
async def test_an_end_in_the_midst_of_a_message_is_an_end(ends: tuple[Channel, socket.socket], told: bytes) -> None:
    channel, other = ends
    other.sendall(told)
    other.close()
    assert await channel.receive(10) is None
    with pytest.raises(ConnectionError):
        for _ in range(100):
            await channel.send(Kind.ALIVE)
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "told", [b"\xff\xff\xff\xff", _said(b"no"), _said(b'["unknown",1]'), _said(b"[1]"), _said(b"1")]
)
async def test_what_is_no_message_is_refused(ends: tuple[Channel, socket.socket], told: bytes) -> None:
    channel, other = ends
    other.sendall(told)
    with pytest.raises(ValueError):
        await channel.receive(10)


async def test_silence_ends_the_waiting(ends: tuple[Channel, socket.socket]) -> None:
    with pytest.raises(Silent, match="nothing was heard for 0 s"):
        await ends[0].receive(0.05)


async def test_who_does_not_read_makes_the_sender_wait(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    sent: list[int] = []

    async def send() -> None:
        for number in range(1000):
            await channel.send(Kind.CHANGES, "x" * 10_000)
            sent.append(number)

    sending = asyncio.create_task(send())
    await until(lambda: channel.unsent_bytes > 0)
    assert len(sent) < 1000 and channel.unsent_bytes < 200_000
    other.setblocking(False)
    while not sending.done():
        try:
            other.recv(1_000_000)
        except BlockingIOError:
            await asyncio.sleep(0)
    assert len(sent) == 1000
