"""What a test of the upstream side needs: connections, a sink, and proof that nothing was left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop

from relay.limits import Limits
from relay.wire.flow import Source, unheeded
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.programs import until

Run = Callable[[Coroutine[Any, Any, None]], None]
LIMITS = Limits(connect_s=20, head_s=20, gap_s=20)
BODY = b'{"model": "m"}'


def question(length: int = len(BODY)) -> bytes:
    """A request's head."""
    return f"POST / HTTP/1.1\r\nHost: upstream\r\nContent-Length: {length}\r\n\r\n".encode()


class Basin:
    """A `Sink` that keeps what it gets, and is full when it is told so."""

    taking_s = 20.0

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_full: Callable[[], None] = unheeded
        self.on_room: Callable[[], None] = unheeded
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.asked_for_room = 0

    @property
    def bytes(self) -> bytes:
        return b"".join(self.pieces)

    def write(self, piece: bytes) -> None:
        assert piece
        self.pieces.append(piece)

    async def room(self) -> None:
        self.asked_for_room += 1
        await self.has_room.wait()

    def fill(self) -> None:
        self.has_room.clear()
        self.on_full()

    def empty(self) -> None:
        self.has_room.set()
        self.on_room()


class Narrow(Basin):
    """Is full after each piece, until it is emptied."""

    def write(self, piece: bytes) -> None:
        super().write(piece)
        self.fill()


async def send(upstreams: Upstreams, origin: Origin, *, may_repeat: bool = True, limits: Limits = LIMITS) -> Source:
    return await upstreams.send(origin, question(), BODY, limits, may_repeat=may_repeat)


async def whole(source: Source) -> bytes:
    """All of an answer, read piece by piece."""
    read = bytearray()
    while piece := await source.next(20):
        read += piece
    return bytes(read)


async def flowing(source: Source) -> bytes:
    """All of an answer, as it flows."""
    basin = Basin()
    await source.flow(basin, 20)
    assert basin.on_full is unheeded and basin.on_room is unheeded
    return basin.bytes


class Clock(Watch):
    """Its time passes when the test says so."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        super().__init__(3600)
        self._now = 1000.0

    def passes(self, seconds: float) -> None:
        for later in (0.0, seconds):
            self._now += later
            for it in tuple(self._watched):
                it.look(self._now)


@contextlib.asynccontextmanager
async def connections(watch: Watch | None = None, **kept: Any) -> AsyncIterator[Upstreams]:
    """The upstreams of a process; at the end nothing of them may be left: no task, no timer, no connection."""
    watch = Watch() if watch is None else watch
    upstreams = Upstreams(kept.pop("resolver", None), watch, kept.pop("web", _no_authorities()), **kept)
    try:
        yield upstreams
    finally:
        upstreams.close()
    assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"
    assert repr(watch) == "<Watch of 0, at rest>"


def _no_authorities() -> ssl.SSLContext:
    """Reading the real ones takes longer than most of the tests."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def settled(upstreams: Upstreams, shown: str) -> None:
    """Until the upstreams' counts are so."""
    await until(lambda: repr(upstreams) == f"<Upstreams {shown}>", lambda: f"{shown}, not {upstreams!r}")


def run_on(loop: str) -> Run:
    """Runs a scene, and then holds it to having ended: no other task, nothing complained of."""

    def run(scene: Coroutine[Any, Any, None]) -> None:
        complaints: list[dict[str, Any]] = []

        async def held() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
            await scene
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, lambda: repr(asyncio.all_tasks()))
            gc.collect(0)  # what was never looked at complains as it goes

        (uvloop.run if loop == "uvloop" else asyncio.run)(held())
        assert not complaints, complaints

    return run
