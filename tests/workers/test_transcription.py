"""Transcription by the worker program, with a real model: what it understands, and each way to have it told."""

from __future__ import annotations

import asyncio
import io
import itertools
import re
import wave

import pytest

from tests.workers.sound import converted, seconds_of, silence, wav
from tests.workers.words import STORY, TEXT, word_error_rate
from tests.workers.worker import HOST, Worker, form

CONTAINERS = {
    "flac": ("flac", "flac"),
    "mp3": ("mp3", "libmp3lame"),
    "ogg": ("ogg", "libopus"),
    "webm": ("webm", "libopus"),
    "m4a": ("mp4", "aac"),
    "mpeg": ("mpeg", "mp2"),
}
MOST_WRONG = 0.25  # the voice is a little different each time, and the model a tiny one; it is 0 to 0.1 mostly
TIME = r"\d\d:\d\d:\d\d[.,]\d\d\d"


@pytest.mark.parametrize("format_", ["wav", "mp3", "opus", "aac", "flac"])
async def test_what_was_spoken_is_heard(speech: Worker, transcription: Worker, format_: str) -> None:
    sound = (await speech.say(TEXT, response_format=format_)).body
    answered = await transcription.hear(sound)
    assert (answered.status, answered.content_type) == (200, "application/json")
    assert _error(answered.json()["text"]) < MOST_WRONG


@pytest.mark.parametrize("name", CONTAINERS)
async def test_each_container_is_read(transcription: Worker, spoken: bytes, name: str) -> None:
    answered = await transcription.hear(converted(spoken, *CONTAINERS[name]))
    assert _error(answered.json()["text"]) < MOST_WRONG


async def test_usage_is_the_duration(transcription: Worker, spoken: bytes) -> None:
    usage = (await transcription.hear(spoken)).json()["usage"]
    assert usage["type"] == "duration"
    assert seconds_of(spoken) <= usage["seconds"] <= seconds_of(spoken) + 1


async def test_text(transcription: Worker, spoken: bytes) -> None:
    answered = await transcription.hear(spoken, response_format="text")
    assert answered.content_type == "text/plain"
    assert _error(answered.body.decode()) < MOST_WRONG
    assert answered.body.endswith(b"\n")


async def test_srt(transcription: Worker, spoken: bytes) -> None:
    answered = await transcription.hear(spoken, response_format="srt")
    cues = answered.body.decode().strip().split("\n\n")
    for number, cue in enumerate(cues, 1):
        assert re.fullmatch(rf"{number}\n{TIME} --> {TIME}\n[^\n]+", cue) and "," in cue
    assert _error(" ".join(cue.split("\n")[2] for cue in cues)) < MOST_WRONG


async def test_vtt(transcription: Worker, spoken: bytes) -> None:
    head, *cues = (await transcription.hear(spoken, response_format="vtt")).body.decode().strip().split("\n\n")
    assert head == "WEBVTT" and cues
    for cue in cues:
        assert re.fullmatch(rf"{TIME} --> {TIME}\n[^\n]+", cue)


async def test_segments_are_told_with_all_that_openai_tells(transcription: Worker, spoken: bytes) -> None:
    told = (await transcription.hear(spoken, response_format="verbose_json", temperature="0", language="en")).json()
    assert (told["task"], told["language"]) == ("transcribe", "english")
    assert abs(told["duration"] - seconds_of(spoken)) < 0.1
    assert "words" not in told
    fields = "id seek start end text tokens temperature avg_logprob compression_ratio no_speech_prob"
    assert all(set(segment) == set(fields.split()) for segment in told["segments"])
    assert "".join(segment["text"] for segment in told["segments"]).strip() == told["text"]
    _assert_in_order([(segment["start"], segment["end"]) for segment in told["segments"]], told["duration"])


@pytest.mark.parametrize("granularities", [["word"], ["word", "segment"]])
async def test_words_have_times(transcription: Worker, spoken: bytes, granularities: list[str]) -> None:
    answered = await transcription.hear(spoken, response_format="verbose_json", granularities=granularities)
    told = answered.json()
    assert ("segments" in told) == ("segment" in granularities)
    assert word_error_rate(told["text"], " ".join(word["word"] for word in told["words"])) < 0.05
    _assert_in_order([(word["start"], word["end"]) for word in told["words"]], told["duration"])


def _error(heard: str) -> float:
    return word_error_rate(TEXT, heard)


def _assert_in_order(times: list[tuple[float, float]], duration: float) -> None:
    assert times and all(0 <= start <= end <= duration + 0.01 for start, end in times)
    assert all(one[0] <= other[0] for one, other in itertools.pairwise(times))


@pytest.mark.parametrize("format_", ["json", "text"])
async def test_segments_are_streamed(transcription: Worker, spoken: bytes, format_: str) -> None:
    *deltas, done = (await transcription.hear(spoken, stream="true", response_format=format_)).events()
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert (done["type"], done["usage"]["type"]) == ("transcript.text.done", "duration")
    assert "".join(event["delta"] for event in deltas) == done["text"]
    assert _error(done["text"]) < MOST_WRONG


@pytest.mark.parametrize("language", ["en", "English", "en-US", "EN"])
async def test_languages_it_takes(transcription: Worker, spoken: bytes, language: str) -> None:
    assert (await transcription.hear(spoken, language=language)).status == 200


@pytest.mark.parametrize(
    "fields", [{"temperature": "0.4"}, {"prompt": "Sea stories."}, {"prompt": "We went to the market. " * 300}]
)
async def test_options_are_taken(transcription: Worker, spoken: bytes, fields: dict[str, str]) -> None:
    assert _error((await transcription.hear(spoken, **fields)).json()["text"]) < 0.4


async def test_silence_is_nothing_said(transcription: Worker) -> None:
    assert (await transcription.hear(silence(5))).json() == {"text": "", "usage": {"type": "duration", "seconds": 5}}
    assert (await transcription.hear(silence(5), stream="true")).events()[-1]["text"] == ""
    assert (await transcription.hear(silence(5), response_format="vtt")).body == b"WEBVTT\n\n"


async def test_two_at_once_and_a_third_that_waits(transcription: Worker, spoken: bytes) -> None:
    await transcription.healthy(lambda found: found["busy"] == 0)
    asked = [asyncio.create_task(transcription.hear(spoken)) for _ in range(3)]
    await transcription.healthy(lambda found: found["busy"] == 2)
    for answered in await asyncio.gather(*asked):
        assert _error(answered.json()["text"]) < MOST_WRONG


async def test_a_recording_is_told_as_it_is_heard(speech: Worker, transcription: Worker) -> None:
    """It is longer than the 30 s that Whisper hears at once."""
    sound = (await speech.say(STORY, response_format="mp3", speed=0.75)).body
    assert seconds_of(sound) > 61
    before = (await transcription.healthy(lambda found: found["busy"] == 0))["steps"]
    data = form(sound, stream="true")
    async with transcription.session.post(f"{HOST}/v1/audio/transcriptions", data=data) as response:
        assert (await response.content.readline()).startswith(b'data: {"type":"transcript.text.delta"')
        assert (await transcription.health())[1]["busy"] == 1
    # Here the client has left.
    left = (await transcription.healthy(lambda found: found["busy"] == 0))["steps"]
    told = (await transcription.hear(sound, response_format="verbose_json")).json()
    assert left - before < (await transcription.health())[1]["steps"] - left
    assert word_error_rate(STORY, told["text"]) < MOST_WRONG
    _assert_in_order([(segment["start"], segment["end"]) for segment in told["segments"]], told["duration"])


async def test_words_are_not_cut_where_decoding_pauses(transcription: Worker, spoken: bytes) -> None:
    """A recording is decoded by 180 s; what is being said then is heard as a whole."""
    with wave.open(io.BytesIO(spoken)) as read:
        sound = wav(bytes(175 * 24_000 * 2) + read.readframes(read.getnframes()), 24_000)
    told = (await transcription.hear(sound, response_format="verbose_json")).json()
    assert _error(told["text"]) < MOST_WRONG
    assert told["segments"][0]["start"] > 173
    assert abs(told["duration"] - seconds_of(sound)) < 0.1
    _assert_in_order([(segment["start"], segment["end"]) for segment in told["segments"]], told["duration"])
