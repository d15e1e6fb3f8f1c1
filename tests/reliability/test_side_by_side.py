"""Many streams at once, each broken elsewhere in its text, and clients that leave in the midst of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from openai import AsyncOpenAI

from tests.misbehaving.words import TEXT, bare, plain
from tests.programs import until
from tests.reliability.cast import FINE, SPARE, Player, Stage, do, staged
from tests.reliability.seen import ASKED

HOWS = ("reset", "closed", "error", "half", "malformed", "done")
BROKEN = [do("breaks", how=how, at=at) for at in range(1, 80, 13) for how in HOWS]
LEFT = {
    "silent": [do("silent")],
    "late-role": [do("silent", after="role")],
    "stalled": [do("breaks", how="stalled", at=9)],
    "kept-open": [do("breaks", how="stalled", at="usage")],
    "busy": [do("status", status=429, retry_after="8")],
    "comments": [do("comments")],
}
SLOW = ("--head-s", "100", "--first-token-s", "100", "--gap-s", "100")


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The circuit would keep the streams from a node that breaks so many of them: each has a node of its own."""
    bad = [Player(f"bad-{number}", {f"many-{number}": [step]}) for number, step in enumerate(BROKEN)]
    good = Player("good", {f"many-{number}": [FINE] for number in range(len(BROKEN))}, changes=SPARE)
    left = Player("left", dict(LEFT))
    async with staged(tmp_path_factory.mktemp("side"), [*bad, good, left], SLOW) as made:
        yield made


@pytest.mark.parametrize("temperature", [0, 0.9])
async def test_each_of_many_broken_streams_is_whole(stage: Stage, temperature: float) -> None:
    async with AsyncOpenAI(base_url=stage.stack.base_url, api_key="any", max_retries=0, timeout=240) as client:

        async def text(model: str) -> str:
            asked = {**ASKED, "temperature": temperature}
            stream = await client.chat.completions.create(model=model, stream=True, **asked)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        texts = await asyncio.gather(*(text(f"many-{number}") for number in range(len(BROKEN))))
    assert {each if temperature == 0 else bare(each) for each in texts} == {TEXT if temperature == 0 else plain()}


@pytest.mark.parametrize("model", LEFT)
async def test_who_leaves_takes_its_request_along(stage: Stage, session: aiohttp.ClientSession, model: str) -> None:
    async def ask() -> None:
        body = {**ASKED, "model": model, "stream": True}
        async with session.post(f"{stage.stack.base_url}/chat/completions", json=body) as response:
            await response.read()

    asking = asyncio.create_task(ask())
    await until(lambda: stage.tries(model) == {"left": 1})
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await stage.is_over("left", model)
    await _nothing_in_flight(stage, session)
    assert stage.tries(model) == {"left": 1}


async def _nothing_in_flight(stage: Stage, session: aiohttp.ClientSession) -> None:
    async with stage.patience():
        while True:
            async with session.get(f"{stage.stack.gateway_url}/metrics") as response:
                if "waypost_gateway_in_flight 0.0" in await response.text():
                    return
