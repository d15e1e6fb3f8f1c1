"""What each endpoint answers, by media type; what is said of an object holds for every engine.

Not here: errors, and the document (openapi).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.answer import EVENT_STREAM
from relay.endpoints import (
    CHAT,
    COMPLETIONS,
    EDITS,
    EMBEDDINGS,
    IMAGES,
    MESSAGES,
    RERANK,
    RESPONSES,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
)

Schema = dict[str, Any]
Content = dict[str, Schema]
JSON = "application/json"

SOUNDS = ("audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/wav", "audio/pcm")
PICTURES = ("image/png", "image/jpeg", "image/webp")
_ANY: Schema = {}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}


def of(required: str, **properties: Schema) -> Schema:
    """An object with those fields, their names in one string, and perhaps others."""
    return {"type": "object", "required": required.split(), "properties": properties}


_EVENTS: Content = {EVENT_STREAM: _ANY}
_VECTOR = of("embedding index", embedding={"type": ["array", "string"]}, index=_COUNT)
_SCORE = of("index relevance_score", index=_COUNT, relevance_score={"type": "number"})
_PICTURE = {
    **of("", b64_json=_TEXT, url=_TEXT, seed={"type": "integer"}),
    "anyOf": [{"required": ["b64_json"]}, {"required": ["url"]}],
}
_PICTURES: Content = {
    JSON: {"schema": of("created data", created=_COUNT, data={"type": "array", "items": _PICTURE})},
    **_EVENTS,
}
_TRANSCRIPT: Content = {
    JSON: {
        "schema": of("text", text=_TEXT, language=_TEXT, duration={"type": "number"}, segments=_OBJECTS, words=_OBJECTS)
    },
    "text/plain": {"schema": {"type": "string", "description": "text, srt or vtt"}},
    **_EVENTS,
}

ANSWERS: Mapping[str, Content] = {
    CHAT.name: {JSON: {"schema": of("choices", choices=_OBJECTS)}, **_EVENTS},
    COMPLETIONS.name: {JSON: {"schema": of("choices", choices=_OBJECTS)}, **_EVENTS},
    RESPONSES.name: {JSON: {"schema": of("id object output", id=_TEXT, output=_OBJECTS)}, **_EVENTS},
    MESSAGES.name: {JSON: {"schema": of("type role content", content=_OBJECTS)}, **_EVENTS},
    EMBEDDINGS.name: {JSON: {"schema": of("data", data={"type": "array", "items": _VECTOR})}},
    RERANK.name: {JSON: {"schema": of("results", results={"type": "array", "items": _SCORE})}},
    IMAGES.name: _PICTURES,
    EDITS.name: _PICTURES,
    SPEECH.name: {**dict.fromkeys(SOUNDS, _ANY), **_EVENTS},
    TRANSCRIPTIONS.name: _TRANSCRIPT,
    TRANSLATIONS.name: _TRANSCRIPT,
}

_NAMES: Schema = {"type": "array", "items": _TEXT}
_PRICE = of("unit amount", unit=_TEXT, amount=_TEXT)
MODEL = of(
    "id object created owned_by endpoints aliases context_length weights_sha256 operators nodes price",
    id=_TEXT, object={"const": "model"}, created=_COUNT, owned_by=_TEXT, endpoints=_NAMES, aliases=_NAMES,
    context_length={"type": ["integer", "null"]}, weights_sha256={"type": ["string", "null"]}, operators=_NAMES,
    nodes=_COUNT, price={"type": ["array", "null"], "items": _PRICE}, rerank_by=_TEXT,
)  # fmt: skip
ERROR = of(
    "error",
    error=of(
        "message type param code", message=_TEXT, type=_TEXT, param={"type": ["string", "null"]},
        code={"type": ["string", "null"]},
    ),
)  # fmt: skip
