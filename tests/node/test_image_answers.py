"""The events of pictures being made: quiet times, early ends, failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
import pytest

from node.engines.image_answers import Picture, answer, events
from node.engines.image_jobs import Step
from relay.errors import BadUpstream
from relay.image_input import read_generation

WISH = read_generation({"prompt": "x", "n": 2})
SIZE = (64, 96)


class Maker:
    """Makes what it is told, each after `go` is set once more; remembers how it ended."""

    def __init__(self, *made: Step | Picture | Exception) -> None:
        self._made = made
        self.go = asyncio.Semaphore(0)
        self.ended = False

    async def run(self) -> AsyncGenerator[Step | Picture, None]:
        try:
            for one in self._made:
                await self.go.acquire()
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.ended = True


def told(event: bytes) -> tuple[str, dict[str, object]]:
    name, data = event.decode().rstrip("\n").split("\n")
    assert event.endswith(b"\n\n")
    return name.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))


async def test_comments_fill_the_quiet_times() -> None:
    maker = Maker(Step(1, 1, 4), Picture(b"png", None, 7))
    async with aclosing(events(maker.run(), WISH, SIZE, edit=True, quiet_s=0.01)) as stream:
        assert (await anext(stream)).startswith(b": ")
        assert (await anext(stream)).startswith(b": ")
        maker.go.release()
        while (event := await anext(stream)).startswith(b": "):
            pass
        assert told(event) == (
            "image_edit.progress",
            {"type": "image_edit.progress", "image": 1, "images": 2, "step": 1, "steps": 4},
        )
        maker.go.release()
        while (event := await anext(stream)).startswith(b": "):
            pass
        name, data = told(event)
        assert name == data["type"] == "image_edit.completed"
        assert (data["b64_json"], data["seed"], data["size"], data["output_format"]) == ("cG5n", 7, "64x96", "png")
        assert [rest async for rest in stream] == []
    assert maker.ended


async def test_an_early_end_reaches_the_maker() -> None:
    maker = Maker(Step(1, 1, 4))
    async with aclosing(events(maker.run(), WISH, SIZE, edit=False, quiet_s=0.01)) as stream:
        await anext(stream)
    assert maker.ended


async def test_a_cancelled_wait_reaches_the_maker() -> None:
    maker = Maker(Step(1, 1, 4))
    stream = events(maker.run(), WISH, SIZE, edit=False)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.wait((waiting,), timeout=0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert maker.ended


async def test_a_failure_passes_through() -> None:
    maker = Maker(BadUpstream("broken"))
    maker.go.release()
    with pytest.raises(BadUpstream, match="broken"):
        await anext(events(maker.run(), WISH, SIZE, edit=False))
    assert maker.ended


def test_an_answer_has_addresses_where_they_were_asked_for() -> None:
    made = orjson.loads(answer([Picture(b"png", "https://host/files/a.png", 1)], WISH, SIZE))
    assert made["data"] == [{"url": "https://host/files/a.png", "seed": 1}]
    assert (made["size"], made["output_format"]) == ("64x96", "png")
