"""A stream whose engine is silent before its first token is kept open by comments, and nothing else is different."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.node.agent import Agent, agent
from tests.programs import running

QUIET_S = 0.3


@contextlib.asynccontextmanager
async def slow(folder: Path, **changed: Any) -> AsyncIterator[tuple[Agent, str]]:
    """A node over an engine that waits for a word, and where to say it."""
    async with running(["-m", "tests.node.slow_engine"], folder / "engine.txt") as engine:
        port = re.search(r"listening on (\d+)\.", await engine.saw("."))
        assert port is not None
        model = {"uri": f"openai+http://127.0.0.1:{port[1]}", "endpoints": ["chat.completions"]}
        async with agent(folder, {"slow": model}, **changed) as node:
            yield node, f"http://127.0.0.1:{port[1]}/_go"


def _asked(node: Agent, session: aiohttp.ClientSession) -> Any:
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "Hi."}]}
    return session.post(f"{node.url}/v1/chat/completions", json=body)


async def test_a_silent_engines_stream_has_comments_until_it_speaks(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with slow(tmp_path, quiet_s=QUIET_S) as (node, go), _asked(node, session) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        for _ in range(2):
            assert await response.content.readuntil(b"\n\n") == b": no token yet\n\n"
        await session.post(go)
        rest = await response.read()
        events = [event for event in rest.split(b"\n\n") if event and not event.startswith(b":")]
        assert (len(events), events[-1]) == (3, b"data: [DONE]")
        assert b"late" in events[0]


async def test_an_sdk_notices_nothing(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with (
        slow(tmp_path, quiet_s=QUIET_S) as (node, go),
        openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key="any") as client,
    ):
        stream = await client.chat.completions.create(
            model="slow", stream=True, messages=[{"role": "user", "content": "Hi."}]
        )  # which returns at the first comment
        await session.post(go)
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["late", None]


async def test_what_goes_wrong_behind_comments_is_an_event(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with slow(tmp_path, quiet_s=QUIET_S) as (node, go), _asked(node, session) as response:
        await response.content.readuntil(b"\n\n")
        await session.post(go, params={"how": "badly"})
        with pytest.raises(aiohttp.ClientPayloadError):  # no last chunk: it never looks complete
            async for line in response.content:
                if line.startswith(b"data:"):
                    assert b'"error"' in line


@pytest.mark.parametrize("quiet_s", [0, 60])
async def test_without_them_the_status_waits_for_the_engine(
    tmp_path: Path, session: aiohttp.ClientSession, quiet_s: float
) -> None:
    async with slow(tmp_path, quiet_s=quiet_s) as (node, go):
        await session.post(go, params={"how": "badly"})
        async with _asked(node, session) as response:
            assert response.status == 502
        await session.post(go)
        async with _asked(node, session) as response:
            assert (response.status, (await response.read()).startswith(b"data:")) == (200, True)
