"""What a transcription's form must be like, and how what is not so is named."""

from __future__ import annotations

import pytest

from relay.audio_input import AudioRequest, check_transcription
from relay.errors import BadRequest
from relay.form import Form
from relay.parts import Parts
from relay.spool import Spool

BOUNDARY = "b"
FILE = ("file", "RIFF....", "speech.wav")
Row = tuple[str, str] | tuple[str, str, str]


async def form(*rows: Row) -> Form:
    """A form as it is once it was received: a third item is a filename."""
    body = b""
    for name, content, *more in rows:
        filename = f'; filename="{more[0]}"' if more else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        body += f"{head}{content}\r\n".encode()
    body += f"--{BOUNDARY}--\r\n".encode()
    spool, parts = Spool(), Parts(BOUNDARY.encode())
    parts.feed(body)
    parts.finish()
    await spool.write(body)
    return Form(spool, BOUNDARY, parts.found, parts.texts)


async def test_what_is_left_out_is_as_at_openai() -> None:
    made = await form(("model", "whisper"), FILE)
    asked = AudioRequest.read(made)
    assert made.read(asked.file, 100) == b"RIFF...."
    assert asked == AudioRequest(asked.file, None, None, None, "json", frozenset({"segment"}), False)


async def test_all_that_can_be_asked_for() -> None:
    granularities: list[Row] = [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")]
    rows: list[Row] = [
        ("language", "en"),
        ("prompt", "Hi."),
        ("temperature", "0.5"),
        ("response_format", "verbose_json"),
    ]
    asked = AudioRequest.read(await form(*granularities, FILE, *rows))
    assert (asked.language, asked.prompt, asked.temperature, asked.format) == ("en", "Hi.", 0.5, "verbose_json")
    assert asked.granularities == {"word", "segment"}


@pytest.mark.parametrize(
    "rows",
    [
        [("timestamp_granularities", "word"), ("response_format", "verbose_json")],
        [("stream", "true")],
        [("stream", "True"), ("response_format", "text")],
        [("stream", "false"), ("response_format", "srt")],
        [("temperature", "0"), ("temperature", "0")],
        [("temperature", "1.0")],
        [("language", ""), ("prompt", ""), ("temperature", "")],
        [("language", "zh-Hant")],
        [("include[]", "logprobs"), ("chunking_strategy", "auto")],
    ],
    ids=str,
)
async def test_good_forms_are_taken(rows: list[Row]) -> None:
    check_transcription(await form(("model", "whisper"), FILE, *rows))


@pytest.mark.parametrize(
    ("rows", "param", "code"),
    [
        ([("model", "whisper")], "file", "missing_file"),
        ([("file", "not a file")], "file", "missing_file"),
        ([FILE, FILE], "file", "repeated_field"),
        ([FILE, ("file", "text")], "file", "repeated_field"),
        ([("file", "", "empty.wav")], "file", "empty_file"),
        ([FILE, ("response_format", "xml")], "response_format", "invalid_value"),
        ([FILE, ("response_format", "json"), ("response_format", "text")], "response_format", "repeated_field"),
        ([FILE, ("response_format", "json", "a.txt")], "response_format", "invalid_type"),
        ([FILE, ("temperature", "-0.1")], "temperature", "invalid_value"),
        ([FILE, ("temperature", "1.1")], "temperature", "invalid_value"),
        ([FILE, ("temperature", "nan")], "temperature", "invalid_value"),
        ([FILE, ("temperature", "inf")], "temperature", "invalid_value"),
        ([FILE, ("temperature", "1e-1")], "temperature", "invalid_value"),
        ([FILE, ("temperature", "warm")], "temperature", "invalid_value"),
        ([FILE, ("language", "e1")], "language", "invalid_value"),
        ([FILE, ("language", "x" * 50)], "language", "invalid_value"),
        ([FILE, ("timestamp_granularities[]", "word")], "timestamp_granularities[]", "invalid_value"),
        (
            [FILE, ("timestamp_granularities[]", "letter"), ("response_format", "verbose_json")],
            "timestamp_granularities[]",
            "invalid_value",
        ),
        ([FILE, ("stream", "yes")], "stream", "invalid_type"),
        ([FILE, ("stream", "true"), ("response_format", "vtt")], "stream", "invalid_value"),
    ],
    ids=str,
)
async def test_bad_ones_are_refused_by_name(rows: list[Row], param: str, code: str) -> None:
    made = await form(*rows)
    with pytest.raises(BadRequest) as caught:
        check_transcription(made)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert f"'{param}'" in caught.value.message
