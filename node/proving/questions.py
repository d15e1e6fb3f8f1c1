"""What a model is asked before it is offered: one small question for each endpoint, and what an answer must have.

Whether an answer is clever is not judged. A further endpoint is a further row. Not here: asking (preflight).
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from relay.call import Call
from relay.endpoints import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    IMAGES,
    RERANK,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    Endpoint,
)
from relay.form import Form
from relay.image_input import LEAST_SIDE
from relay.parts import Parts
from relay.spool import Spool

TOKENS = 16
_REQUEST_ID = "preflight"
_BOUNDARY = "waypost-preflight"
_SENTENCE = "The train to the city leaves early."
_DOCUMENTS = (_SENTENCE, "A cat sleeps on the mat.")
_RATE = 16_000  # of the silence, samples a second


@dataclass(frozen=True)
class Question:
    """`fields` go into the body beside the model's name. `check` raises ValueError: "it ..." what the answer lacks."""

    endpoint: Endpoint
    fields: Mapping[str, Any]
    check: Callable[[bytes], None]
    writes: bool = False  # text, whose speed is of interest

    async def call(self, model: str) -> Call:
        """The question as a request. Leaving its context ends its form."""
        fields = {"model": model, **self.fields}
        if self.endpoint.takes_form:
            return Call(self.endpoint, model, False, _REQUEST_ID, form=await _form(fields))
        return Call(self.endpoint, model, False, _REQUEST_ID, body=orjson.dumps(fields), fields=fields)


def question_for(endpoints: tuple[str, ...]) -> Question | None:
    """The first that one of these endpoints can be asked; None if there is none."""
    return next((question for question in QUESTIONS if question.endpoint.name in endpoints), None)


def speed(answer: bytes, took_s: float) -> float | None:
    """Tokens a second, as the engine has measured it, else by its count; None where it tells neither."""
    found = _object(answer)
    timings, usage = found.get("timings"), found.get("usage")
    if isinstance(timings, dict) and _count(timings.get("predicted_n")) > 1:  # the first comes with the prompt
        per_s = timings.get("predicted_per_second")
        if _is_number(per_s) and per_s > 0:
            return per_s
    count = _count(usage.get("completion_tokens")) if isinstance(usage, dict) else 0
    return count / took_s if count > 0 and took_s > 0 else None


async def _form(fields: Mapping[str, str]) -> Form:
    """A multipart body with a second of silence as its file."""
    texts = "".join(_part(f'name="{name}"') + f"{text}\r\n" for name, text in fields.items())
    head = _part('name="file"; filename="silence.wav"', "Content-Type: audio/wav\r\n")
    body = f"{texts}{head}".encode() + _silence() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    spool, parts = Spool(), Parts(_BOUNDARY.encode())
    parts.feed(body)
    parts.finish()
    await spool.write(body)
    await spool.finish()
    return Form(spool, _BOUNDARY, parts.found, parts.texts)


def _part(what: str, more: str = "") -> str:
    return f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {what}\r\n{more}\r\n"


def _silence() -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(bytes(2 * _RATE))
    return written.getvalue()


def _check_chat(answer: bytes) -> None:
    if not isinstance(_first(answer, "choices").get("message"), dict):
        raise ValueError("it has no message")


def _check_completion(answer: bytes) -> None:
    if not isinstance(_first(answer, "choices").get("text"), str):
        raise ValueError("it has no text")


def _check_embedding(answer: bytes) -> None:
    vector = _first(answer, "data").get("embedding")
    if not isinstance(vector, list) or not vector or not all(map(_is_number, vector)):
        raise ValueError("it has no vector of finite numbers")
    if not any(vector):
        raise ValueError("its vector is all zeros")


def _check_ranks(answer: bytes) -> None:
    results = _object(answer).get("results")
    ranks = [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []
    if sorted(_count(each.get("index")) for each in ranks) != [*range(len(_DOCUMENTS))]:
        raise ValueError("it does not rank the documents")
    if not all(_is_number(each.get("relevance_score")) for each in ranks):
        raise ValueError("it has no finite scores")


def _check_picture(answer: bytes) -> None:
    encoded = _first(answer, "data").get("b64_json")
    try:
        picture = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
    except binascii.Error as error:
        raise ValueError("its picture is not in base64") from error
    if not picture:
        raise ValueError("it has no picture")


def _check_sound(answer: bytes) -> None:
    if not answer:
        raise ValueError("it has no sound")


def _check_transcript(answer: bytes) -> None:
    if not isinstance(_object(answer).get("text"), str):
        raise ValueError("it has no text")


def _first(answer: bytes, name: str) -> dict[str, Any]:
    """Of a list of objects."""
    found = _object(answer).get(name)
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise ValueError(f"it has no {name}")
    return found[0]


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


_TALK = [{"role": "user", "content": "Hello! How are you?"}]
# All of the tokens, so that the speed is that of more than one or two.
_WRITING = {"max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
_PICTURE = {
    "prompt": "a lighthouse", "size": f"{LEAST_SIDE}x{LEAST_SIDE}", "steps": 1, "cfg_scale": 1.0, "seed": 1,
    "response_format": "b64_json",
}  # fmt: skip
QUESTIONS = (
    Question(CHAT, {"messages": _TALK, **_WRITING}, _check_chat, writes=True),
    Question(COMPLETIONS, {"prompt": "Once upon a time", **_WRITING}, _check_completion, writes=True),
    Question(EMBEDDINGS, {"input": _SENTENCE}, _check_embedding),
    Question(RERANK, {"query": "When does the train leave?", "documents": _DOCUMENTS}, _check_ranks),
    Question(IMAGES, _PICTURE, _check_picture),
    Question(SPEECH, {"input": _SENTENCE, "response_format": "pcm"}, _check_sound),
    Question(TRANSCRIPTIONS, {}, _check_transcript),
    Question(TRANSLATIONS, {}, _check_transcript),
)
