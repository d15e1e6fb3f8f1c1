"""Many callers on few connections, some of whom leave at any moment: each gets its own answer and no other."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from relay.wire.flow import Source
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from tests.relay.wire.scene import LIMITS, Basin, Run, connections
from tests.relay.wire.scripted import Peer, Scripted, scripted

CALLERS = 32
CALLS = 40


async def echo(peer: Peer) -> None:
    """Answers with what was asked, in one of several framings, and in one read or more."""
    while True:
        asked = (await peer.request()).partition(b"\r\n\r\n")[2]
        number = int(asked.partition(b".")[2])
        head = b"HTTP/1.1 200 OK\r\n"
        whole = b"Content-Length: %d\r\n\r\n%b" % (len(asked), asked)
        if number % 3 == 0:
            await peer.say(head + whole)
        elif number % 3 == 1:
            await peer.say(head, whole[:-1], whole[-1:])
        else:
            await peer.say(head + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n" % (len(asked), asked))
            await peer.say(b"0\r\n\r\n")


async def _ask(upstreams: Upstreams, upstream: Scripted, word: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: upstream\r\nContent-Length: %d\r\n\r\n" % len(word)
    source = await upstreams.send(Origin("127.0.0.1", upstream.port), head, word, LIMITS, may_repeat=True)
    try:
        return await _read(source, int(word.partition(b".")[2]))
    finally:
        source.close()


async def _read(source: Source, number: int) -> bytes:
    basin = Basin()
    if number % 2:
        await source.flow(basin, 20)
    else:
        while piece := await source.next(20):
            basin.write(piece)
    return basin.bytes


@pytest.mark.parametrize("leaving", [0.0, 0.3])
def test_each_gets_its_own_answer(run: Run, leaving: float) -> None:
    async def scene() -> None:
        chance = random.Random(6)

        async def caller(name: int) -> None:
            for number in range(CALLS):
                word = b"%d.%d" % (name, number)
                task = asyncio.create_task(_ask(upstreams, upstream, word))
                if chance.random() < leaving:
                    for _ in range(chance.randrange(12)):
                        await asyncio.sleep(0)
                    task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await task == word

        async with scripted(echo) as upstream, connections() as upstreams:
            async with asyncio.TaskGroup() as group:
                for name in range(CALLERS):
                    group.create_task(caller(name))
            assert "<Upstreams 0 busy" in repr(upstreams)
            if not leaving:
                assert len(upstream.peers) <= CALLERS

    run(scene())
