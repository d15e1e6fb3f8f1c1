"""What a connection, a request or a failure leaves behind: nothing that only the garbage collector would free.

A gateway runs that seldom (gateway.collecting), so that a circle for each connection would be a leak for an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from relay.call import BodyLimits, Call
from relay.endpoints import ENDPOINTS
from relay.limits import Limits
from relay.stream import ask, relay
from relay.wire.inbound import Inbound
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.programs import until
from tests.relay.hot_path import LIMIT_S, Client, connected, hot_path, post
from tests.relay.wire.scene import run_on
from tests.relay.wire.scripted import Peer, scripted

_OURS = ("relay.", "gateway.", "httptools.")
_TIMES = 5
_CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "%b"}], "stream": true}'
_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n"
_END = b"10\r\n\n\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def chat(word: bytes) -> bytes:
    return post("/chat", _CHAT % word, "Content-Type: application/json")


async def upstream(peer: Peer) -> None:
    """Does what the prompt says."""
    while True:
        asked = await peer.request()
        if b"whole" in asked:
            await peer.say(_EVENTS + _END)
        elif b"breaks" in asked:
            await peer.say(_EVENTS)
            return
        elif b"refuses" in asked:
            return
        elif b"garbage" in asked:
            await peer.say(b"nothing like HTTP\r\n\r\n")
        elif b"silent" in asked:
            await peer.gone()
        else:
            await peer.say(_EVENTS)
            await peer.gone()


async def asks(client: Client) -> None:
    await client.send(chat(b"whole"))
    await client.until(b"0\r\n\r\n")


async def asks_twice_at_once(client: Client) -> None:
    await client.send(chat(b"whole") * 2)
    await client.until(b"0\r\n\r\n")
    await client.until(b"0\r\n\r\n")


async def leaves_a_stream(client: Client) -> None:
    await client.send(chat(b"goes on") + chat(b"whole"))
    await client.until(b"data: 1")


async def meets_a_break(client: Client) -> None:
    await client.send(chat(b"breaks"))
    assert b"upstream_broken" in await client.rest()


async def is_refused(client: Client) -> None:
    await client.send(chat(b"refuses"))
    await client.until(b"upstream_reset")


async def meets_garbage(client: Client) -> None:
    await client.send(chat(b"garbage"))
    await client.until(b"upstream_reset")


async def meets_silence(client: Client) -> None:
    await client.send(chat(b"silent"))
    await client.until(b"head_timeout")


async def finds_nobody(client: Client) -> None:
    await client.send(post("/nobody", _CHAT % b"", "Content-Type: application/json"))
    await client.until(b"connect_failed")


async def sends_garbage(client: Client) -> None:
    await client.send(b"garbage\r\n\r\n")
    assert b"invalid_http" in await client.rest()


async def sends_half(client: Client) -> None:
    await client.send(chat(b"whole") + chat(b"whole")[:-10])
    await client.until(b"0\r\n\r\n")


async def passes(client: Client) -> None:
    await client.send(b"GET /other HTTP/1.1\r\nHost: here\r\n\r\n")
    await client.until(b"another")
    await client.send(chat(b"whole"))
    await client.until(b"0\r\n\r\n")


async def finds_nothing(client: Client) -> None:
    await client.send(b"GET /nothing HTTP/1.1\r\nHost: here\r\n\r\n")
    await client.until(b"unknown_url")


WAYS: list[Callable[[Client], Awaitable[None]]] = [
    asks, asks_twice_at_once, leaves_a_stream, meets_a_break, is_refused, meets_garbage, meets_silence, finds_nobody,
    sends_garbage, sends_half, passes, finds_nothing,
]  # fmt: skip


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_left_to_the_collector(loop: str, way: Callable[[Client], Awaitable[None]]) -> None:
    async def other(_: web.Request) -> web.StreamResponse:
        return web.Response(text="another")

    async def scene() -> None:
        upstreams = Upstreams(None, Watch(0.01))
        async with scripted(upstream) as node:
            to = {"/chat": Origin("127.0.0.1", node.port, keep=False), "/nobody": Origin("127.0.0.1", 1)}

            async def handle(inbound: Inbound) -> None:
                with await Call.read(inbound, ENDPOINTS["chat.completions"], BodyLimits()) as call:
                    limits = Limits(5, 0.05 if b"silent" in call.body else 5, 5)
                    async with await ask(upstreams, to[inbound.template], "/", call, {}, limits) as answer:
                        await relay(inbound, answer, call)

            async with hot_path(dict.fromkeys(to, handle), [web.get("/other", other)]) as serving:

                async def go() -> None:
                    async with connected(serving.port) as client:
                        await way(client)
                    await until(
                        lambda: len(asyncio.all_tasks()) == idle, lambda: repr(asyncio.all_tasks()), limit_s=LIMIT_S
                    )

                idle = len(asyncio.all_tasks())
                await go()
                with garbage() as found:
                    for _ in range(_TIMES):
                        await go()
                assert not found, found
        upstreams.close()

    run_on(loop)(scene())


@contextlib.contextmanager
def garbage() -> Iterator[Counter[str]]:
    """What is unreachable at the end and was not freed, as far as it is ours, by its names."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(name for name in map(_name, gc.garbage) if name.startswith(_OURS))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _name(it: object) -> str:
    if isinstance(it, types.FrameType):
        return f"{it.f_globals.get('__name__')}.{it.f_code.co_qualname}"
    return f"{type(it).__module__}.{type(it).__qualname__}"
