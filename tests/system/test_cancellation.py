"""A client that leaves frees its llama.cpp slot, beside another stream, seen in llama-server's own log.

Two seconds are promised. How long it took is told; what is held to a limit is the work that was done in vain, since on
a machine that is busy otherwise seconds say little.
"""

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
WORDS, MAX_TOKENS = 6000, 1500  # as many tokens at least; an engine alone takes some ten seconds for either
STARTED = re.compile(r"task (\d+) \| processing task, is_child")


def _chat(stream: bool, words: int = 5, max_tokens: int = MAX_TOKENS) -> dict[str, Any]:
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
    await until(lambda: bool(STARTED.search(log.output(), since)), lambda: "a launched task")
    found = STARTED.search(log.output(), since)
    assert found is not None
    return found[1]


async def _left(log: Program, task: str, leaving: asyncio.Task[Any]) -> tuple[float, int]:
    """The client leaves: how long its slot was held from then on (seconds), and how many tokens it held at the end."""
    released = re.compile(rf"task {task} \| stop processing: n_tokens = (\d+)")
    assert not released.search(log.output()), "it was over before the client left"
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    taken = await until(lambda: bool(released.search(log.output())), lambda: f"a free slot:\n{log.output()[-2000:]}")
    found = released.search(log.output())
    assert found is not None
    return taken, int(found[1])


async def _first_token(session: aiohttp.ClientSession, url: str, got: asyncio.Event) -> None:
    async with session.post(url, json=_chat(True)) as response:
        await response.content.readany()
        got.set()
        while await response.content.readany():
            pass


@pytest.mark.parametrize("case", ["after the first token", "during prefill", "during a whole answer"])
async def test_the_slot_is_free_long_before_the_work_is_done(
    stack: Stack, session: aiohttp.ClientSession, case: str, tell: Callable[[str], None]
) -> None:
    url, log = f"{stack.base_url}/chat/completions", stack.nodes[0].program
    whole = WORDS if case == "during prefill" else MAX_TOKENS
    async with _another_stream(session, url):
        since = len(log.output())
        if case == "after the first token":
            got = asyncio.Event()
            leaving = asyncio.create_task(_first_token(session, url, got))
            await got.wait()
        else:
            body = _chat(True, words=WORDS) if case == "during prefill" else _chat(False)
            leaving = asyncio.create_task(session.post(url, json=body))
        taken, held = await _left(log, await _launched(log, since), leaving)
    tell(f"{case}: the slot was free {taken:.2f} s after its client had left, with {held} of {whole} tokens")
    assert held < 0.7 * whole
