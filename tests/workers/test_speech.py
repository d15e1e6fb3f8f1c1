"""Speech by the worker program, with a real voice: formats, voices, speed, and what it refuses."""

from __future__ import annotations

import io
import struct
import wave
from typing import Any

import pytest

from tests.workers.sound import seconds_of, wav
from tests.workers.words import TEXT
from tests.workers.worker import Worker

FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@pytest.mark.parametrize("format_", FORMATS)
async def test_each_format_can_be_played(speech: Worker, format_: str) -> None:
    answered = await speech.say(TEXT, response_format=format_)
    assert (answered.status, answered.content_type) == (200, FORMATS[format_])
    sound = wav(answered.body, 24_000) if format_ == "pcm" else answered.body
    assert 7 < seconds_of(sound) < 14


async def test_mp3_is_what_comes_when_nothing_is_said(speech: Worker) -> None:
    answered = await speech.say("Hello.")
    assert answered.content_type == "audio/mpeg"
    assert seconds_of(answered.body, "mp3") > 0.2


async def test_pcm_is_24_khz_of_16_bit_samples(speech: Worker) -> None:
    answered = await speech.say("Hello there.", response_format="pcm")
    samples = struct.unpack(f"<{len(answered.body) // 2}h", answered.body)
    assert 0.4 < len(samples) / 24_000 < 2
    assert max(samples) > 10_000 > -10_000 > min(samples)


async def test_a_wav_of_one_sentence_tells_its_length(speech: Worker) -> None:
    sound = (await speech.say("Just one sentence.", response_format="wav")).body
    with wave.open(io.BytesIO(sound)) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate()) == (1, 2, 24_000)
        assert read.getnframes() * 2 == len(sound) - 44


async def test_a_longer_wav_is_read_by_python_too(speech: Worker) -> None:
    sound = (await speech.say(TEXT, response_format="wav")).body
    with wave.open(io.BytesIO(sound)) as read:
        assert len(read.readframes(read.getnframes())) == len(sound) - 44


@pytest.mark.parametrize("speed", [4.0, 2.0, 0.5, 0.25])
async def test_speed(speech: Worker, speed: float) -> None:
    text = "The lighthouse keeper walked slowly along the stone path."
    usual = seconds_of((await speech.say(text, response_format="wav")).body)
    other = seconds_of((await speech.say(text, response_format="wav", speed=speed)).body)
    assert 0.8 < usual / other / speed < 1.25


@pytest.mark.parametrize("name", ["default", "alloy", "cedar", "en_US-joe-medium", {"id": "marin"}, None])
async def test_voices_that_are_there(speech: Worker, name: Any) -> None:
    assert (await speech.say("Hi.", voice=name, response_format="pcm")).status == 200


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"voice": "nobody"}, "voice", "unknown_voice"),
        ({"voice": {"id": "nobody"}}, "voice", "unknown_voice"),
        ({"input": "..."}, "input", "empty_input"),
        ({"input": "\u200b"}, "input", "empty_input"),
        ({"input": " \n "}, "input", "empty_input"),
        ({"input": None}, "input", "missing_input"),
        ({"input": "x" * 4097}, "input", "input_too_long"),
        ({"response_format": "midi"}, "response_format", "invalid_value"),
        ({"speed": 5}, "speed", "invalid_value"),
    ],
    ids=str,
)
async def test_what_cannot_be_spoken_is_refused(speech: Worker, fields: dict[str, Any], param: str, code: str) -> None:
    answered = await speech.post("speech", json={"model": "voice", "input": "Hello.", **fields})
    assert answered.error() == (400, param, code)
    assert (await speech.say("Still here.")).status == 200


async def test_an_unknown_voice_names_those_there_are(speech: Worker) -> None:
    message = (await speech.say("Hi.", voice="nobody")).json()["error"]["message"]
    assert "default" in message and "en_US-joe-medium" in message and "alloy" in message


@pytest.mark.parametrize("text", ["A\0B", "🎉", "你好", "a" * 500, "[[ h@'loU ]]", "<speak>&amp;</speak>", "1/2 €5 #x"])
async def test_odd_texts_are_spoken(speech: Worker, text: str) -> None:
    answered = await speech.say(text, response_format="wav")
    assert answered.status == 200
    assert seconds_of(answered.body) > 0.1


async def test_slow_speech_without_a_rest_takes_no_more_memory(speech: Worker) -> None:
    words = "one after another " * 15  # some 300 phonemes
    assert (await speech.say(words, response_format="pcm")).status == 200
    with speech.peaking(500_000_000):
        slow = await speech.say(words, response_format="wav", speed=0.25)
    assert seconds_of(slow.body) > 40


async def test_a_body_that_is_not_json(speech: Worker) -> None:
    assert (await speech.post("speech", data=b"{")).error() == (400, None, "invalid_json")
