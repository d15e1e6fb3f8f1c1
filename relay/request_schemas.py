"""What each endpoint takes, as JSON Schema, written with the very limits that the checks use.

A form's fields are described by what their text means. Not here: the checks (`*_input`), and the document (openapi).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from relay import audio_input, chat_input, image_input, speech_input
from relay.call import MOST_MODELS
from relay.embedding_input import FORMATS, HIGHEST_TOKEN, MOST_INPUTS
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
from relay.rerank_input import MOST_DOCUMENTS

Schema = dict[str, Any]

FILE: Schema = {"type": "string", "format": "binary"}
_NAME: Schema = {"type": "string", "minLength": 1, "description": "a model's name; GET /v1/models lists them"}
_NAMES: Schema = {
    "type": ["array", "null"],
    "items": {"type": "string", "minLength": 1},
    "maxItems": MOST_MODELS,
    "description": "models that may answer in place of 'model', best first; the first of them is it where that is left "
    "out. A node that is asked itself heeds no other.",
}
_SAID: Schema = {"type": "string", "pattern": r"\S"}
_OBJECT: Schema = {"type": ["object", "null"]}
_SWITCH: Schema = {"type": ["boolean", "null"]}
_NEVER: Schema = {"enum": [False, None]}
_WORDS: Schema = {"type": ["string", "null"]}


def _taking(required: Collection[str], **properties: Schema) -> Schema:
    """An object with a model, or several. Fields beyond those named pass on to the engine, or mean nothing."""
    return {
        "type": "object",
        "required": [*required],
        "properties": {"model": _NAME, "models": _NAMES, **properties},
        "anyOf": [
            {"required": ["model"]},
            {"required": ["models"], "properties": {"models": {"type": "array", "minItems": 1}}},
        ],
    }


def _form(required: Collection[str], **properties: Schema) -> Schema:
    """A form with a model."""
    return {"type": "object", "required": ["model", *required], "properties": {"model": _NAME, **properties}}


def _one_of(values: Collection[str]) -> Schema:
    return {"enum": [*values, None]}


def _numbers(ranges: Mapping[str, tuple[float, float]], kind: str, *, null: bool = True) -> dict[str, Schema]:
    types = [kind, "null"] if null else kind
    return {name: {"type": types, "minimum": least, "maximum": most} for name, (least, most) in ranges.items()}


def _listed(item: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": item, "minItems": 1} | ({} if most is None else {"maxItems": most})


_TOKENS = _listed({"type": "integer", "minimum": 0, "maximum": HIGHEST_TOKEN})
_TEXT: Schema = {"type": "string", "minLength": 1}
_PARTS = {
    "type": "array",
    "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}},
}
_MESSAGES = _listed({
    "type": "object", "required": ["role"],
    "properties": {"role": _TEXT, "content": {"anyOf": [{"type": ["string", "null"]}, _PARTS]}},
})  # fmt: skip
_OPTIONS: dict[str, Schema] = {
    "stream": _SWITCH,
    **{name: {"type": ["number", "null"]} for name in chat_input.NUMBERS},
    **{name: {"type": ["integer", "null"]} for name in chat_input.INTEGERS},
    **{name: {"type": ["object", "array", "null"]} for name in chat_input.OBJECTS},
    "n": {"type": ["integer", "null"], "minimum": 1},
    "tools": {"type": ["array", "null"]},
    "stop": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}}]},
}
_PICTURE_NUMBERS = (image_input.INTEGERS, "integer"), (image_input.NUMBERS, "number")


def _picture(*, form: bool) -> dict[str, Schema]:
    """The options of generations and edits; a form has no null."""
    null = [] if form else [None]
    types = "string" if form else ["string", "null"]
    size = {"type": types, "pattern": f"^(auto|{image_input.SIZE.pattern})$", "description": "auto or WIDTHxHEIGHT"}
    fields: dict[str, Schema] = {name: {"enum": [*values, *null]} for name, values in image_input.CHOICES.items()}
    for ranges, kind in _PICTURE_NUMBERS:
        fields |= _numbers(ranges, kind, null=not form)
    fields |= {name: {"type": types, "maxLength": image_input.MOST_PROMPT} for name in image_input.TEXTS}
    return {
        "prompt": {**_SAID, "maxLength": image_input.MOST_PROMPT},
        "size": size,
        "stream": {"type": "boolean"} if form else _SWITCH,
        **fields,
    }


_FILES = _listed(FILE, image_input.MOST_IMAGES)
_RECORDING = _form(
    ["file"],
    file={**FILE, "minLength": 1, "description": "the recording, sent with a filename"},
    language={"type": "string", "pattern": f"^({audio_input.LANGUAGE.pattern})?$"},
    prompt={"type": "string"},
    temperature={"type": "number", "minimum": 0, "maximum": 1},
    response_format={"enum": [*audio_input.FORMATS]},
    stream={"type": "boolean", "description": f"for the formats {' and '.join(audio_input.STREAMED_FORMATS)}"},
    **{
        "timestamp_granularities[]": {
            "type": "array", "items": {"enum": [*audio_input.GRANULARITIES]}, "description": "for verbose_json",
        }
    },
)  # fmt: skip

REQUESTS: Mapping[str, Schema] = {
    CHAT.name: _taking(["messages"], messages=_MESSAGES, **_OPTIONS),
    COMPLETIONS.name: _taking(["prompt"], prompt={"anyOf": [{"type": "string"}, _listed({})]}, **_OPTIONS),
    RESPONSES.name: _taking(
        ["input"],
        input={"anyOf": [_TEXT, _listed({"type": "object"})]},
        previous_response_id={"type": "null"},
        **{**_OPTIONS, "tools": {"type": "array", "items": {"type": "object"}}},
    ),
    MESSAGES.name: _taking(
        ["messages", "max_tokens"],
        messages=_MESSAGES,
        **{**_OPTIONS, "max_tokens": {"type": "integer", "minimum": 1}},
    ),
    EMBEDDINGS.name: _taking(
        ["input"],
        input={"anyOf": [_TEXT, _listed(_TEXT, MOST_INPUTS), _TOKENS, _listed(_TOKENS, MOST_INPUTS)]},
        encoding_format={"enum": [*FORMATS]},
        dimensions={"type": ["integer", "null"], "minimum": 1},
        stream=_NEVER,
    ),
    RERANK.name: _taking(
        ["query", "documents"],
        query=_SAID,
        documents=_listed(
            {"anyOf": [_SAID, {"type": "object", "required": ["text"], "properties": {"text": _SAID}}]}, MOST_DOCUMENTS
        ),
        top_n={"type": ["integer", "null"], "minimum": 1},
        return_documents=_SWITCH,
        stream=_NEVER,
    ),
    IMAGES.name: _taking(["prompt"], **_picture(form=False)),
    EDITS.name: {
        **_form(["prompt"], **{"image": _FILES, "image[]": _FILES, "mask": FILE, **_picture(form=True)}),
        "anyOf": [{"required": ["image"]}, {"required": ["image[]"]}],
    },
    SPEECH.name: _taking(
        ["input"],
        input={**_SAID, "maxLength": speech_input.MOST_CHARACTERS},
        voice={"anyOf": [_TEXT, {"type": "object", "required": ["id"], "properties": {"id": _TEXT}}, {"type": "null"}]},
        instructions=_WORDS,
        response_format=_one_of(speech_input.FORMATS),
        stream_format=_one_of(speech_input.STREAM_FORMATS),
        speed={"type": ["number", "null"], "minimum": speech_input.SLOWEST, "maximum": speech_input.FASTEST},
    ),
    TRANSCRIPTIONS.name: _RECORDING,
    TRANSLATIONS.name: _RECORDING,
}
