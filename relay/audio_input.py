"""What a form of `POST /v1/audio/transcriptions` or `/v1/audio/translations` must be like.

Here rather than at the engine, so that what cannot be answered troubles neither a node nor an engine. Not here: which
languages a model knows, and whether the file is audio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.errors import BadRequest
from relay.form import Form, Part

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
STREAMED_FORMATS = ("json", "text")
GRANULARITIES = ("segment", "word")
_SWITCH = {"true": True, "1": True, "false": False, "0": False}
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
LANGUAGE = re.compile(r"[A-Za-z][A-Za-z _-]{0,39}")


@dataclass(frozen=True)
class AudioRequest:
    """What is asked for, with OpenAI's defaults. `temperature` None: the engine chooses.

    `include` and `chunking_strategy` are taken and change nothing: they ask for more than the engines here have.
    """

    file: Part
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    format: str = "json"
    granularities: frozenset[str] = frozenset({"segment"})
    stream: bool = False

    @classmethod
    def read(cls, form: Form) -> AudioRequest:
        """Raises BadRequest that names the field and the fix."""
        file = _file(form)
        format_ = _format(form)
        return cls(
            file=file,
            language=_language(form),
            prompt=form.text("prompt") or None,
            temperature=_temperature(form),
            format=format_,
            granularities=_granularities(form, format_),
            stream=_stream(form, format_),
        )


def check_transcription(form: Form) -> None:
    """Raises BadRequest that names the field and the fix."""
    AudioRequest.read(form)


def _file(form: Form) -> Part:
    files = form.files("file")
    if not files:
        fix = "it was sent without a filename; send it as a file" if form.texts("file") else "the audio, as a file"
        raise BadRequest(f"You must provide a 'file': {fix}.", param="file", code="missing_file")
    if len(files) > 1 or form.texts("file"):
        raise BadRequest("'file' is given several times; send one file a request.", param="file", code="repeated_field")
    if files[0].size == 0:
        raise BadRequest("'file' is empty; send the audio's bytes.", param="file", code="empty_file")
    return files[0]


def _format(form: Form) -> str:
    given = form.text("response_format") or FORMATS[0]
    if given not in FORMATS:
        text = f"'response_format' must be one of {', '.join(FORMATS)}; {FORMATS[0]} where it is left out."
        raise BadRequest(text, param="response_format", code="invalid_value")
    return given


def _language(form: Form) -> str | None:
    given = form.text("language")
    if not given:
        return None
    if not LANGUAGE.fullmatch(given):
        text = "'language' must be an ISO-639-1 code such as 'en'; leave it out to have it recognised."
        raise BadRequest(text, param="language", code="invalid_value")
    return given


def _temperature(form: Form) -> float | None:
    given = form.text("temperature")
    if not given:
        return None
    if not _NUMBER.fullmatch(given) or not 0 <= float(given) <= 1:
        raise BadRequest("'temperature' must be a number from 0 to 1.", param="temperature", code="invalid_value")
    return float(given)


def _granularities(form: Form, format_: str) -> frozenset[str]:
    name = "timestamp_granularities"
    given = [*form.texts(f"{name}[]"), *form.texts(name)]
    if not given:
        return frozenset({"segment"})
    if not set(given) <= set(GRANULARITIES):
        text = f"'{name}[]' must be 'word' or 'segment'; send the field twice for both."
        raise BadRequest(text, param=f"{name}[]", code="invalid_value")
    if format_ != "verbose_json":
        text = f"'{name}[]' needs response_format=verbose_json; {format_} shows no such times."
        raise BadRequest(text, param=f"{name}[]", code="invalid_value")
    return frozenset(given)


def _stream(form: Form, format_: str) -> bool:
    stream = _SWITCH.get((form.text("stream") or "false").strip().lower())
    if stream is None:
        raise BadRequest("'stream' must be true or false.", param="stream", code="invalid_type")
    if stream and format_ not in STREAMED_FORMATS:
        text = f"{format_} is not streamed; use response_format=json or text, or leave 'stream' out."
        raise BadRequest(text, param="stream", code="invalid_value")
    return stream
