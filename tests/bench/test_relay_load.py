"""bench.relay's clients and phases behind a hop that does what a good one does not: each is an error in the table."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from bench.relay_load import Door
from bench.relay_phases import Crowd, Load, Seen, crowd, eager, small, streams
from bench.relay_upstream import Engine
from bench.relay_wheel import Wheel

LOAD = Load(
    0.5, connections=2, streams=4, tokens=20, pace_ms=1, eager=2, crowd=8, crowd_pace_ms=20, ramp_s=0.1, begin_s=0.5
)
HELD_S = 0.1
Phase = Callable[[Door, tuple[int, ...], Load], Awaitable[Seen | Crowd]]


class Hop:
    """Bytes to the engine and back, with what is `replaced` by as many others, and what else is asked of it."""

    def __init__(self, engine: int) -> None:
        self.engine = engine
        self.held_s = 0.0  # the first token, behind its role
        self.mute = False  # at once
        self.falls_silent = False  # after the first token
        self.cut = False
        self.replaced: dict[bytes, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection("127.0.0.1", self.engine)
        carrying = asyncio.create_task(self._back(back, writer))
        try:
            while data := await reader.read(65536):
                there.write(data)
        except ConnectionError:
            pass
        finally:
            carrying.cancel()
            there.close()
            writer.close()

    async def _back(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await back.read(65536):
            if self.mute:
                continue
            if self.held_s and (role := data.find(b'"role"')) > 0:  # an engine that begins, and has nothing to say yet
                early = data.index(b"\n\n", role) + 2
                writer.write(data[:early])
                await asyncio.sleep(self.held_s)
                data = data[early:]
            for old, new in self.replaced.items():
                data = data.replace(old, new)
            writer.write(data)
            if self.falls_silent:
                return
            if self.cut and b'" two"' in data:
                writer.close()


@pytest.fixture
async def hop() -> AsyncIterator[tuple[Hop, Door]]:
    loop = asyncio.get_running_loop()
    engine = await loop.create_server(partial(Engine, Wheel(loop), bytes), "127.0.0.1", 0)
    between = Hop(engine.sockets[0].getsockname()[1])
    async with contextlib.AsyncExitStack() as exits:
        exits.callback(engine.close)
        server = await asyncio.start_server(between.serve, "127.0.0.1", 0)
        exits.callback(server.close)
        yield between, Door(server.sockets[0].getsockname()[1])


async def test_good_answers_are_no_errors(hop: tuple[Hop, Door]) -> None:
    asked, streamed = await small(hop[1], (), LOAD), await streams(hop[1], (), LOAD)
    hasty = await eager(hop[1], (), LOAD)
    assert not (asked.tally.errors or streamed.tally.errors or hasty.tally.errors)
    assert asked.tally.answers and streamed.tally.answers and hasty.tally.tokens


async def test_a_crowd_is_counted_by_stream(hop: tuple[Hop, Door]) -> None:
    found = await crowd(hop[1], (), LOAD)
    assert (found.streams, found.seen.tally.errors) == (8, {})
    assert 0 < found.least <= found.median <= found.most


async def test_the_first_token_is_the_first_text(hop: tuple[Hop, Door]) -> None:
    hop[0].held_s = HELD_S
    seen = await streams(hop[1], (), LOAD)
    assert not seen.tally.errors
    assert min(seen.tally.first_s) >= HELD_S


@pytest.mark.parametrize(
    ("old", "new", "how"),
    [
        (b'"content":" two"', b'"content":""    ', "fewer tokens than asked for"),
        (b'"finish_reason":"stop"', b'"finish_reason":null  ', "ended without a finish_reason"),
        (b"data: [DONE]", b": other end.", "ended without [DONE]"),
        (b'"object":"chat.completion.chunk"', b'"error": "chat.completion.chunk"', "an error event"),
        (b"HTTP/1.1 200 OK", b"HTTP/1.1 503 NO", "status 503"),
    ],
)
async def test_a_stream_that_is_not_what_was_asked_for_is_an_error(
    hop: tuple[Hop, Door], old: bytes, new: bytes, how: str
) -> None:
    hop[0].replaced = {old: new}
    assert (await streams(hop[1], (), LOAD)).tally.errors == {how: LOAD.streams}


async def test_a_stream_that_breaks_off_is_an_error(hop: tuple[Hop, Door]) -> None:
    hop[0].cut = True
    assert (await streams(hop[1], (), LOAD)).tally.errors == {"broken off": LOAD.streams}


async def test_a_small_answer_of_another_text_is_an_error(hop: tuple[Hop, Door]) -> None:
    hop[0].replaced = {b'"Blue."': b'"Oops!"'}
    assert (await small(hop[1], (), LOAD)).tally.errors == {"another answer than the engine's": LOAD.connections}


@pytest.mark.parametrize("phase", [small, streams, eager, crowd])
async def test_a_hop_that_says_nothing_is_an_error(hop: tuple[Hop, Door], phase: Phase) -> None:
    hop[0].mute = True
    found = await phase(hop[1], (), LOAD)
    assert set((found if isinstance(found, Seen) else found.seen).tally.errors) == {"no first token"}


async def test_a_hop_that_falls_silent_is_an_error(hop: tuple[Hop, Door]) -> None:
    hop[0].falls_silent = True
    slow = replace(LOAD, seconds=1.0, pace_ms=200)  # so that the first token comes alone
    assert (await streams(hop[1], (), slow)).tally.errors == {"silent": LOAD.streams}
