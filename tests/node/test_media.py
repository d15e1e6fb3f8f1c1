"""Media in bodies for llama-server: found wherever they may stand, and let through only as data that it can read."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy import demo
from node.engines.llama_media import explain, media_of, refuse_remote
from node.engines.llama_pictures import MOST_PIXELS, Encoded
from relay.errors import BadRequest
from tests.node.agent import agent

ADDRESSES = ("http://h/x.png", "https://h/x", "httpfoo", "HTTP://h/x", "file:///etc/passwd", "ftp://h/x", " http://h/x")


def _png(width: int = 8, height: int = 8) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(16)


def _jpeg(width: int = 8, height: int = 8, before: int = 0) -> bytes:
    padding = b"\xff\xe1" + struct.pack(">H", 60_000) + bytes(59_998)
    return b"\xff\xd8" + padding * before + b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(40)


def _gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(20)


def _bmp(width: int, height: int) -> bytes:
    return b"BM" + bytes(16) + struct.pack("<ii", width, height) + bytes(20)


def _raw(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{_raw(data)}"


def _parts(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


PLACES: dict[str, Any] = {  # path of the reference -> a body with it, made of the reference
    "messages[0].content[0].image_url.url": lambda it: _parts({"type": "image_url", "image_url": {"url": it}}),
    "messages[0].content[0].image_url": lambda it: _parts({"type": "image_url", "image_url": it}),
    "messages[0].content[0].source.url": lambda it: _parts({"type": "image", "source": {"type": "url", "url": it}}),
    "messages[0].content[0].content[0].source.url": lambda it: _parts(
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": it}}]}
    ),
    "input[0].content[0].image_url": lambda it: {"input": [{"content": [{"type": "input_image", "image_url": it}]}]},
    "input[0].output[0].image_url": lambda it: {"input": [{"output": [{"type": "input_image", "image_url": it}]}]},
    "input.content[0].image_url.url": lambda it: {"input": {"content": [{"image_url": {"url": it}}]}},
    "prompt[0].content[0].image_url.url": lambda it: {"prompt": [{"content": [{"image_url": {"url": it}}]}]},
    "content[0].image_url.url": lambda it: {"content": [{"image_url": {"url": it}}]},
    "system[0].source.url": lambda it: {"system": [{"type": "image", "source": {"type": "url", "url": it}}]},
}


@pytest.mark.parametrize("where", PLACES)
def test_an_address_is_refused_wherever_it_stands(where: str) -> None:
    for address in ADDRESSES:
        with pytest.raises(BadRequest) as refused:
            refuse_remote(PLACES[where](address))
        assert (refused.value.param, refused.value.code) == (where, "remote_media"), address
        assert address not in refused.value.message
    for good in (_uri(_png()), _raw(_jpeg()), _uri(_gif(8, 8), "image/gif"), _uri(_bmp(8, -8), "image/bmp")):
        refuse_remote(PLACES[where](good))


@pytest.mark.parametrize("field", ["input_audio", "audio_url", "input_video", "video_url"])
@pytest.mark.parametrize("name", ["url", "data"])
def test_sounds_and_videos_are_not_fetched_either(field: str, name: str) -> None:
    for address in ADDRESSES:
        with pytest.raises(BadRequest) as refused:
            refuse_remote(_parts({"type": field, field: {name: address}}))
        assert (refused.value.param, refused.value.code) == (f"messages[0].content[0].{field}.{name}", "remote_media")


def test_text_may_name_addresses() -> None:
    refuse_remote(_parts({"type": "text", "text": "See http://h/x.png"}))
    used = {"type": "tool_use", "name": "f", "input": {"image_url": "https://h/x.png", "url": "http://h"}}
    refuse_remote({**_parts(used), "tools": [{"input_schema": {"default": {"image_url": "https://h/x"}}}]})
    refuse_remote({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "http://h"}}]}]})
    refuse_remote({"prompt": "http://h/x.png", "input": ["http://h"], "query": "http://h", "documents": ["http://h"]})


@pytest.mark.parametrize(
    "data",
    [b"", b"Hello", b"#EXTM3U\nhttp://h/x", b"ffconcat version 1.0", b"<svg/>", b"%PDF-1.7", b"RIFF....WEBP",
     b"\0\0\0\x20ftypisom", b"ID3", _png(30_000, 30_000), _jpeg(60_000, 60_000), _jpeg(60_000, 60_000, before=3),
     _gif(65_535, 65_535), _bmp(30_000, -30_000)],
    ids=lambda data: str(data[:12]),
)  # fmt: skip
def test_what_no_decoder_should_see_is_refused(data: bytes) -> None:
    for reference in (_uri(data), _raw(data)):
        with pytest.raises(BadRequest) as refused:
            refuse_remote(_parts({"type": "image_url", "image_url": {"url": reference}}))
        assert refused.value.code == "invalid_media"


def test_a_sound_must_be_one() -> None:
    sounds = (b"RIFF\0\0\0\0WAVEfmt ", b"ID3\x04", b"\xff\xfb\x90", b"fLaC")
    for data in sounds:
        refuse_remote(_parts({"type": "input_audio", "input_audio": {"data": _raw(data + bytes(20))}}))
    for data in (b"OggS", _png(), b"#EXTM3U"):
        with pytest.raises(BadRequest, match="WAV, MP3 or FLAC"):
            refuse_remote(_parts({"type": "input_audio", "input_audio": {"data": _raw(data + bytes(20))}}))


@pytest.mark.parametrize("make", [_png, _jpeg, _gif, _bmp])
def test_the_size_that_a_picture_says_is_read(make: Any) -> None:
    assert Encoded(_raw(make(640, 480))).pixels == 640 * 480
    assert Encoded(_uri(make(640, 480))).pixels == 640 * 480
    assert MOST_PIXELS > 640 * 480


def test_a_picture_may_be_cut_anywhere() -> None:
    for whole in (_png(640, 480), _jpeg(640, 480, before=1), _gif(640, 480), _bmp(640, 480)):
        for count in range(min(len(whole), 90)):
            encoded = Encoded(_raw(whole[:count]))
            assert encoded.pixels in (0, 640 * 480) or count < 26
    assert Encoded("data:image/png;base64").pixels == 0
    assert not Encoded("@@@@").is_image


def test_deep_and_wide_bodies_are_looked_through() -> None:
    deep: Any = {"type": "image_url", "image_url": {"url": "http://h/"}}
    for _ in range(900):
        deep = [deep]
    with pytest.raises(BadRequest):
        refuse_remote({"messages": deep})
    assert not list(media_of({"prompt": list(range(1_000_000))}))


def test_what_llama_server_refuses_names_its_field() -> None:
    body = _parts({"type": "text"}, {"type": "image_url", "image_url": {"url": _uri(_png())}})
    unread = explain(BadRequest("Failed to load image or audio file"), body)
    assert (unread.param, unread.code) == ("messages[0].content[1].image_url.url", "invalid_media")
    several = explain(BadRequest("Failed to load image or audio file"), {**body, "messages": body["messages"] * 2})
    assert several.param == "messages"
    blind = explain(BadRequest("image input is not supported - hint: you may need to provide the mmproj"), body)
    assert (blind.param, blind.code) == ("messages[0].content[1].image_url.url", "unsupported_media")
    assert "mmproj" not in blind.message
    other = BadRequest("Something else")
    assert explain(other, body) is other


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Iterator[Path]:
    """A file that appears if anybody runs the ffmpeg or ffprobe that come first in the path."""
    ran, programs = tmp_path / "ran", tmp_path / "bin"
    programs.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
        (programs / name).chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{programs}:{before}"
    yield ran
    os.environ["PATH"] = before


@pytest.mark.engine
async def test_what_cannot_be_decoded_is_not_handed_to_ffmpeg(
    tmp_path: Path, ffmpeg: Path, session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {"seeing": {**demo.VISION.options(), "context": 512}}) as node:
        part = {"type": "image_url", "image_url": {"url": _uri(_png())}}
        async with session.post(
            f"{node.url}/v1/chat/completions", json={"model": "seeing", **_parts(part)}
        ) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (400, "invalid_media")
            assert "Failed to load" in error["message"], "llama-server itself tried"
    assert ffmpeg not in set(await asyncio.to_thread(lambda: list(tmp_path.iterdir())))
