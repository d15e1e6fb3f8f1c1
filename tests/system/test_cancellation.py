"""A client that leaves frees its llama.cpp slot within 2 s, beside another stream, seen in llama-server's own log."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from tests.programs import Program, until
from tests.stack import MODEL, Stack

pytestmark = pytest.mark.engine
LIMIT_S = 2.0
STARTED = re.compile(r"task (\d+) \| processing task, is_child")


def _chat(stream: bool, words: int = 5, max_tokens: int = 1500) -> dict[str, Any]:
    content = "Count slowly. " + "word " * words
    return {
        "model": MODEL,
        "stream": stream,
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": content}],
    }


@contextlib.asynccontextmanager
async def _another_stream(session: aiohttp.ClientSession, url: str) -> AsyncIterator[None]:
    """A stream that goes on producing tokens while the context lasts."""
    async with session.post(url, json=_chat(True, max_tokens=6000)) as response:
        await response.content.readany()

        async def drain() -> None:
            while await response.content.readany():
                pass

        reading = asyncio.create_task(drain())
        try:
            yield
            assert not reading.done(), "the other stream ended too early to be beside anything"
        finally:
            reading.cancel()
            response.close()
            await asyncio.gather(reading, return_exceptions=True)


async def _launched(log: Program, since: int) -> str:
    """The engine's number of the task that it launched since that position of its log."""
    await until(lambda: bool(STARTED.search(log.output(), since)), 60, lambda: "a launched task")
    found = STARTED.search(log.output(), since)
    assert found is not None
    return found[1]


async def _leave_and_time(log: Program, task: str, left: asyncio.Task[Any]) -> float:
    released = f"task {task} | stop processing"
    assert released not in log.output(), "it was over before the client left"
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    return await until(lambda: released in log.output(), LIMIT_S, lambda: f"a free slot:\n{log.output()[-2000:]}")


async def _first_token(session: aiohttp.ClientSession, url: str, got: asyncio.Event) -> None:
    async with session.post(url, json=_chat(True)) as response:
        await response.content.readany()
        got.set()
        while await response.content.readany():
            pass


@pytest.mark.parametrize("case", ["after the first token", "during prefill", "during a whole answer"])
async def test_the_slot_is_free_within_two_seconds(
    stack: Stack, session: aiohttp.ClientSession, case: str, record_property: Callable[[str, object], None]
) -> None:
    url, log = f"{stack.base_url}/chat/completions", stack.nodes[0].program
    async with _another_stream(session, url):
        since = len(log.output())
        if case == "after the first token":
            got = asyncio.Event()
            left = asyncio.create_task(_first_token(session, url, got))
            await got.wait()
        else:
            body = _chat(True, words=6000) if case == "during prefill" else _chat(False)
            left = asyncio.create_task(session.post(url, json=body))
        taken = await _leave_and_time(log, await _launched(log, since), left)
        record_property("slot_free_after_s", round(taken, 2))
