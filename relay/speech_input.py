"""What a body of `POST /v1/audio/speech` must be like.

Here rather than at the engine, so that what cannot be answered troubles neither a node nor an engine. Not here: which
voices there are, which the engine knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.errors import BadRequest
from relay.fields import is_number, is_text, require

MOST_CHARACTERS = 4096  # as at OpenAI
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
STREAM_FORMATS = ("audio", "sse")
SLOWEST, FASTEST = 0.25, 4.0


@dataclass(frozen=True)
class SpeechRequest:
    """What is asked for, with OpenAI's defaults. `voice` is a name; `instructions` are of no use to most engines."""

    text: str
    voice: str = "default"
    format: str = "mp3"
    speed: float = 1.0
    events: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> SpeechRequest:
        """Raises BadRequest that names the field and the fix."""
        require(body, "instructions", is_text, "a string")
        return cls(
            text=_text(body.get("input")),
            voice=_voice(body.get("voice")),
            format=_one_of(body, "response_format", FORMATS),
            speed=_speed(body),
            events=_one_of(body, "stream_format", STREAM_FORMATS) == "sse",
        )


def check_speech(body: Mapping[str, Any]) -> None:
    """Raises BadRequest that names the field and the fix."""
    SpeechRequest.read(body)


def _text(given: Any) -> str:
    if given is None:
        raise BadRequest("You must provide an 'input': the text to speak.", param="input", code="missing_input")
    if not isinstance(given, str):
        raise BadRequest("'input' must be a string.", param="input", code="invalid_type")
    if not given.strip():
        raise BadRequest("'input' is empty; send the text to speak.", param="input", code="empty_input")
    if len(given) > MOST_CHARACTERS:
        text = f"'input' has {len(given)} characters, and {MOST_CHARACTERS} is the limit; send it in several requests."
        raise BadRequest(text, param="input", code="input_too_long")
    return given


def _voice(given: Any) -> str:
    if given is None:
        return "default"
    name = given.get("id") if isinstance(given, dict) else given
    if not isinstance(name, str) or not name:
        text = "'voice' must be a voice's name, such as 'default', or an object with its name as 'id'."
        raise BadRequest(text, param="voice", code="invalid_type")
    return name


def _speed(body: Mapping[str, Any]) -> float:
    require(body, "speed", is_number, "a number")
    given = body.get("speed")
    speed = 1.0 if given is None else given
    if not SLOWEST <= speed <= FASTEST:
        text = f"'speed' must be from {SLOWEST} to {FASTEST:g}; 1 is the voice's own."
        raise BadRequest(text, param="speed", code="invalid_value")
    return float(speed)


def _one_of(body: Mapping[str, Any], name: str, values: tuple[str, ...]) -> str:
    given = body.get(name)
    if given is None:
        return values[0]
    if not isinstance(given, str) or given not in values:
        text = f"'{name}' must be one of {', '.join(values)}; {values[0]} where it is left out."
        raise BadRequest(text, param=name, code="invalid_value")
    return given
