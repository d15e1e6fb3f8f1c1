"""Wrong forms and wrong files: each is a 4xx that names the field, at gateway and node, and the engine lives on."""

from __future__ import annotations

import io
import random
import struct
import zlib

import aiohttp
import pytest
from PIL import Image

from tests.stack import Stack
from tests.system.good_calls import (
    BOUNDARY,
    FORM,
    PNG,
    WAV,
    Asked,
    Field,
    File,
    assert_alive,
    base_of,
    encoded,
    of_form,
    png,
    send,
)
from tests.system.refusals import refused

pytestmark = pytest.mark.engine
TEXT = b"This is no recording and no picture, but words. " * 50
NOISE = random.Random(7).randbytes(20_000)
MIB = 1024 * 1024


def _picture(kind: str) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (64, 64)).save(written, kind)
    return written.getvalue()


def _bomb(side: int = 60_000) -> bytes:
    """A PNG that says it is enormous, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(side))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _file(data: bytes) -> File:
    return File(data, "a.png", "image/png")


Row = tuple[dict[str, object], str | None] | tuple[dict[str, object], str | None, list[Field]]


def _of(endpoint: str, rows: dict[str, Row]) -> dict[str, tuple[Asked, str | None]]:
    found = {}
    for name, (changes, param, *further) in rows.items():
        found[f"{endpoint}: {name}"] = (of_form(endpoint, *(further[0] if further else ()), **changes), param)
    return found


RECORDINGS: dict[str, Row] = {
    "no file": ({"file": ...}, "file"),
    "a file that is a field": ({"file": "hello"}, "file"),
    "an empty file": ({"file": File(b"", "a.wav")}, "file"),
    "two files": ({}, "file", [("file", File(WAV, "b.wav"))]),
    "text as audio": ({"file": File(TEXT, "a.wav", "audio/wav")}, "file"),
    "noise as audio": ({"file": File(NOISE, "a.mp3", "audio/mpeg")}, "file"),
    "a picture as audio": ({"file": File(PNG, "a.wav", "audio/wav")}, "file"),
    "a head without sound": ({"file": File(WAV[:20], "a.wav", "audio/wav")}, "file"),
    "a list of other files": ({"file": File(b"ffconcat version 1.0\nfile '/etc/passwd'\n", "a.txt")}, "file"),
    "a playlist": ({"file": File(b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.wav\n", "a.m3u8")}, "file"),
    "no model": ({"model": ...}, "model"),
    "two models": ({}, "model", [("model", "another")]),
    "a model that is a file": ({"model": File(b"whisper", "m.txt")}, "model"),
    "an unknown format": ({"response_format": "docx"}, "response_format"),
    "an unknown language": ({"language": "klingon"}, "language"),
    "a language that is a path": ({"language": "../en"}, "language"),
    **{f"temperature {text}": ({"temperature": text}, "temperature") for text in ("-1", "2", "nan", "inf", "hot")},
    "a stream that is neither": ({"stream": "maybe"}, "stream"),
    "a stream of subtitles": ({"stream": "true", "response_format": "srt"}, "stream"),
    "too long a prompt": ({"prompt": "a" * (2 * MIB)}, "prompt"),
    "a prompt that is no text": ({}, "prompt", [("prompt", b"\xff\xfe\xfa")]),
    "300 fields": ({}, None, [(f"f{number}", "x") for number in range(300)]),
    "unknown granularity": (
        {"timestamp_granularities[]": "letter", "response_format": "verbose_json"}, "timestamp_granularities[]",
    ),
    "granularity without a place": ({"timestamp_granularities[]": "word"}, "timestamp_granularities[]"),
}  # fmt: skip
SIZES = ("0x0", "-64x64", "64", "99999x99999", "64x64x64", "wide")
PICTURES: dict[str, Row] = {
    "no image": ({"image": ...}, "image"),
    "an image that is a field": ({"image": "hello"}, "image"),
    "an empty image": ({"image": _file(b"")}, "image"),
    "a truncated image": ({"image": _file(png(256)[:200])}, "image"),
    "text as an image": ({"image": _file(TEXT)}, "image"),
    "sound as an image": ({"image": _file(WAV)}, "image"),
    "sound that says so": ({"image": File(WAV, "a.wav", "audio/wav")}, "image"),
    "another kind of image": ({"image": File(_picture("gif"), "a.gif", "image/gif")}, "image"),
    "a drawing in XML": ({"image": File(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg")}, "image"),
    "an image that is a bomb": ({"image": _file(_bomb())}, "image"),
    "17 images": ({}, "image", [("image[]", _file(PNG))] * 16),
    "a truncated second image": ({}, "image", [("image", _file(PNG[:60]))]),
    "a truncated mask": ({}, "mask", [("mask", _file(PNG[:60]))]),
    "two masks": ({}, "mask", [("mask", _file(PNG))] * 2),
    "a mask that is a bomb": ({}, "mask", [("mask", _file(_bomb()))]),
    "no prompt": ({"prompt": ...}, "prompt"),
    "a blank prompt": ({"prompt": "  "}, "prompt"),
    "two prompts": ({}, "prompt", [("prompt", "another")]),
    **{f"n {text}": ({"n": text}, "n") for text in ("-1", "0", "1000", "1.5", "two", "")},
    **{f"size {text}": ({"size": text}, "size") for text in SIZES},
    "an image of one pixel, its size kept": ({"image": _file(png(1)), "size": ...}, "size"),
    **{f"strength {text}": ({"strength": text}, "strength") for text in ("-1", "nan", "inf", "1e999")},
    "a million steps": ({"steps": "1000000"}, "steps"),
    "an unknown response_format": ({"response_format": "bmp"}, "response_format"),
    "a background that cannot be": ({"background": "transparent"}, "background"),
    "no model": ({"model": ...}, "model"),
    "two models": ({}, "model", [("model", "another")]),
}  # fmt: skip
FEW = ("an empty file", "text as audio", "no model", "temperature nan")
BAD = {
    **_of("audio.transcriptions", RECORDINGS),
    **_of("audio.translations", {name: RECORDINGS[name] for name in FEW}),
    **_of("images.edits", PICTURES),
}
WHOLE = of_form("audio.transcriptions").body
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"'.encode()
BROKEN = {
    "an empty body": (FORM, b"", 400),
    "no parts": (FORM, f"--{BOUNDARY}--\r\n".encode(), 400),
    "no boundary": ("multipart/form-data", WHOLE, 400),
    "another boundary": ("multipart/form-data; boundary=other", WHOLE, 400),
    "a boundary that is none": ("multipart/form-data; boundary={}", WHOLE, 400),
    "cut short in the file": (FORM, WHOLE[: len(WHOLE) // 2], 400),
    "no last boundary": (FORM, WHOLE.removesuffix(f"--{BOUNDARY}--\r\n".encode()), 400),
    "more behind the last boundary": (FORM, WHOLE + b"more", 400),
    "something before the first": (FORM, b"before\r\n" + WHOLE, 400),
    "a part without a name": (FORM, WHOLE.replace(b'; name="model"', b""), 400),
    "a part in base64": (FORM, WHOLE.replace(HEAD, HEAD + b"\r\nContent-Transfer-Encoding: base64"), 400),
    "a part in another charset": (
        FORM, WHOLE.replace(HEAD, HEAD + b"\r\nContent-Type: text/plain; charset=utf-16"), 400,
    ),
    "a part with too long a head": (FORM, WHOLE.replace(HEAD, HEAD + b"\r\nX-Long: " + b"a" * 20_000), 400),
    "a name in noise": (FORM, WHOLE.replace(b'name="file"', b'name="\xff\xfe"'), 400),
    "an object": ("application/json", b'{"model": "whisper"}', 415),
    "an object that says it is a form": (FORM, b'{"model": "whisper"}', 400),
    "a plain form": ("application/x-www-form-urlencoded", b"model=whisper", 415),
    "another multipart": (FORM.replace("form-data", "mixed"), WHOLE, 415),
    "a sound": ("audio/wav", WAV, 415),
}  # fmt: skip


@pytest.mark.parametrize("where", ["gateway", "node"])
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_upload(full_stack: Stack, session: aiohttp.ClientSession, where: str, name: str) -> None:
    asked, param = BAD[name]
    base = base_of(full_stack, where)
    error = refused(*await send(session, base, asked), 400)
    assert error["param"] == param, error


@pytest.mark.parametrize("where", ["gateway", "node"])
@pytest.mark.parametrize("endpoint", ["audio.transcriptions", "audio.translations", "images.edits"])
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_form(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str, name: str
) -> None:
    kind, body, status = BROKEN[name]
    refused(*await send(session, base_of(full_stack, where), Asked(endpoint, body, kind)), status)


@pytest.mark.parametrize("where", ["gateway", "node"])
@pytest.mark.parametrize("endpoint", ["audio.transcriptions", "audio.translations", "images.edits"])
async def test_the_engines_live_on(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str
) -> None:
    """After all that stands above."""
    await assert_alive(session, base_of(full_stack, where), endpoint)


@pytest.mark.parametrize("where", ["gateway", "node"])
async def test_a_form_where_json_belongs(full_stack: Stack, session: aiohttp.ClientSession, where: str) -> None:
    asked = Asked("audio.speech", encoded([("model", "joe"), ("input", "Hello")]), FORM)
    refused(*await send(session, base_of(full_stack, where), asked), 415)
