"""Speech leaves as it is made, stops when nobody listens, and several are made at once."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from tests.workers.sound import seconds_of
from tests.workers.words import LONG, SENTENCES, TEXT
from tests.workers.worker import HOST, Worker, ready


@pytest.mark.parametrize("format_", ["mp3", "opus", "flac", "wav"])
async def test_the_first_sound_comes_before_the_last_is_made(speech: Worker, format_: str) -> None:
    body = {"model": "voice", "input": LONG, "response_format": format_}
    before = (await speech.healthy(lambda found: found["busy"] == 0))["steps"]
    async with speech.session.post(f"{HOST}/v1/audio/speech", json=body) as response:
        assert await response.content.readany()
        _, found = await speech.health()
        assert found["busy"] == 1 and found["steps"] - before < 40
    # Here the client has left in the midst of it.
    found = await speech.healthy(lambda found: found["busy"] == 0)
    assert found["steps"] - before < 40


async def test_events_carry_the_sound(speech: Worker) -> None:
    events = (await speech.say(TEXT, response_format="mp3", stream_format="sse")).events()
    *deltas, done = events
    assert {event["type"] for event in deltas} == {"speech.audio.delta"} and len(deltas) >= SENTENCES
    assert 7 < seconds_of(b"".join(base64.b64decode(event["audio"]) for event in deltas)) < 14
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    assert usage["input_tokens"] > 100 and usage["output_tokens"] > 100
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_two_at_once_and_a_third_that_waits(speech: Worker) -> None:
    await speech.healthy(lambda found: found["busy"] == 0)
    asked = [asyncio.create_task(speech.say(TEXT * 2, response_format="wav")) for _ in range(3)]
    await speech.healthy(lambda found: found["busy"] == 2)
    for answered in await asyncio.gather(*asked):
        assert answered.status == 200 and seconds_of(answered.body) > 14


async def test_one_who_leaves_while_waiting_takes_no_slot(voice: Path, tmp_path: Path) -> None:
    async with ready(tmp_path, "speech", voice, slots=1) as worker:
        body = {"model": "voice", "input": LONG, "response_format": "wav"}
        async with worker.session.post(f"{HOST}/v1/audio/speech", json=body) as first:
            await first.content.readany()
            waiting = asyncio.create_task(worker.say("Never spoken."))
            await worker.healthy(lambda found: found["busy"] == 1)
            waiting.cancel()
        before = (await worker.healthy(lambda found: found["busy"] == 0))["steps"]
        assert (await worker.say("Spoken.", response_format="pcm")).status == 200
        assert (await worker.health())[1]["steps"] - before <= 2
