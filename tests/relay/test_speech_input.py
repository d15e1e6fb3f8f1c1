"""What a speech request must be like, and how what is not so is named."""

from __future__ import annotations

from typing import Any

import pytest

from relay.errors import BadRequest
from relay.speech_input import MOST_CHARACTERS, SpeechRequest, check_speech


def test_what_is_left_out_is_as_at_openai() -> None:
    assert SpeechRequest.read({"input": "Hello."}) == SpeechRequest("Hello.", "default", "mp3", 1.0, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"input": "x" * MOST_CHARACTERS},
        {"input": "é" * MOST_CHARACTERS},
        {"voice": "alloy"},
        {"voice": {"id": "voice_1"}},
        {"voice": None, "response_format": None, "speed": None, "stream_format": None, "instructions": None},
        {"response_format": "pcm", "speed": 0.25, "stream_format": "sse"},
        {"speed": 4},
        {"instructions": "Speak like a pirate.", "user": "me"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_good_bodies_are_taken(changes: dict[str, Any]) -> None:
    check_speech({"model": "m", "input": "Hello.", **changes})


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"input": None}, "input", "missing_input"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": ["Hello."]}, "input", "invalid_type"),
        ({"input": ""}, "input", "empty_input"),
        ({"input": " \t\n\u3000"}, "input", "empty_input"),
        ({"input": "x" * (MOST_CHARACTERS + 1)}, "input", "input_too_long"),
        ({"voice": 7}, "voice", "invalid_type"),
        ({"voice": ""}, "voice", "invalid_type"),
        ({"voice": {}}, "voice", "invalid_type"),
        ({"voice": {"id": 7}}, "voice", "invalid_type"),
        ({"response_format": "ogg"}, "response_format", "invalid_value"),
        ({"response_format": ["mp3"]}, "response_format", "invalid_value"),
        ({"speed": "fast"}, "speed", "invalid_type"),
        ({"speed": True}, "speed", "invalid_type"),
        ({"speed": 0.2}, "speed", "invalid_value"),
        ({"speed": 4.1}, "speed", "invalid_value"),
        ({"speed": -1}, "speed", "invalid_value"),
        ({"speed": float("nan")}, "speed", "invalid_value"),
        ({"stream_format": "chunks"}, "stream_format", "invalid_value"),
        ({"instructions": 7}, "instructions", "invalid_type"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_ones_are_refused_by_name(changes: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_speech({"model": "m", "input": "Hello.", **changes})
    assert (caught.value.param, caught.value.code) == (param, code)
    assert f"'{param}'" in caught.value.message
