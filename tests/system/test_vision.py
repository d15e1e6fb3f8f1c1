"""Pictures in a chat, through both hops, to a real llama-server with a small projector of random weights.

It sees nothing sensible, yet other pictures lead to other answers, and the same one to the same.
"""

from __future__ import annotations

import base64
import random
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import aiohttp
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.stack import MODEL, VISION_MODEL, Stack

pytestmark = pytest.mark.engine
SIDE = 64


def _png(pixels: bytes) -> bytes:
    """A picture of SIDE x SIDE pixels, three bytes each."""
    rows = b"".join(b"\0" + pixels[at : at + 3 * SIDE] for at in range(0, len(pixels), 3 * SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


TEXT = {"type": "text", "text": "What is this?"}
RED = _png(b"\xff\0\0" * SIDE * SIDE)
NOISE = _png(random.Random(3).randbytes(3 * SIDE * SIDE))
HUGE = RED[:16] + struct.pack(">II", 30_000, 30_000) + RED[24:]
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nADDRESS\n#EXT-X-ENDLIST\n"
WAV = b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(24) + b"data" + bytes(4)
ASKED: dict[str, Any] = {"model": VISION_MODEL, "max_tokens": 16, "temperature": 0, "extra_body": {"ignore_eos": True}}


@pytest.fixture
def client(full_stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=full_stack.base_url, api_key="any", max_retries=0)


@pytest.fixture(params=["gateway", "node"])
def base(full_stack: Stack, request: pytest.FixtureRequest) -> str:
    return f"{full_stack.gateway_url if request.param == 'gateway' else full_stack.nodes[0].url}/v1"


async def _seen(client: AsyncOpenAI, *parts: Any) -> tuple[str | None, int]:
    """What is said of these parts, and how many tokens they were."""
    made = await client.chat.completions.create(messages=_user(*parts), **ASKED)
    assert made.usage is not None
    return made.choices[0].message.content, made.usage.prompt_tokens


async def test_a_picture_is_seen(client: AsyncOpenAI) -> None:
    _, without = await _seen(client, TEXT)
    _, once = await _seen(client, TEXT, _part(_uri(RED)))
    _, twice = await _seen(client, TEXT, _part(_uri(RED)), _part(_uri(NOISE)))
    assert once - without >= 16
    assert twice - once == once - without
    red, noise, again = [(await _seen(client, _part(_uri(data))))[0] for data in (RED, NOISE, RED)]
    assert red == again
    assert red != noise


async def test_a_picture_is_seen_in_a_stream(client: AsyncOpenAI) -> None:
    whole, _ = await _seen(client, _part(_uri(NOISE)))
    stream = await client.chat.completions.create(messages=_user(_part(_uri(NOISE))), stream=True, **ASKED)
    assert "".join([event.choices[0].delta.content or "" async for event in stream]) == whole


async def test_a_picture_in_responses_and_messages(client: AsyncOpenAI, full_stack: Stack) -> None:
    said, tokens = await _seen(client, TEXT, _part(_uri(NOISE)))
    parts = [{"type": "input_text", "text": TEXT["text"]}, {"type": "input_image", "image_url": _uri(NOISE)}]
    given: Any = [{"role": "user", "content": parts}]
    response = await client.responses.create(
        model=VISION_MODEL, input=given, temperature=0, max_output_tokens=16, extra_body={"ignore_eos": True}
    )
    assert response.usage is not None
    assert (response.output_text, response.usage.input_tokens) == (said, tokens)
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(NOISE).decode()}
    messages: Any = _user(TEXT, {"type": "image", "source": source})
    async with AsyncAnthropic(base_url=full_stack.gateway_url, api_key="any", max_retries=0) as anthropic:
        made = await anthropic.messages.create(
            model=VISION_MODEL, messages=messages, max_tokens=4, extra_body={"temperature": 0}
        )
    assert said is not None
    assert made.content[0].type == "text"
    assert said.startswith(made.content[0].text)


BAD = {
    "a truncated picture": (_uri(NOISE[: len(NOISE) // 2]), "invalid_media"),
    "a picture's head": (_uri(RED[:30]), "invalid_media"),
    "text": (_uri(b"Hello, this is no picture at all."), "invalid_media"),
    "no data": (_uri(b""), "invalid_media"),
    "data that is no base64": ("data:image/png;base64,@@@@", "invalid_media"),
    "data that is not said to be base64": ("data:image/png,abcd", "invalid_media"),
    "a type that is no picture": (_uri(RED, "text/plain"), "invalid_media"),
    "a document": (_uri(b"%PDF-1.7 and so on", "application/pdf"), "invalid_media"),
    "a picture that says it is huge": (_uri(HUGE), "invalid_media"),
    "a WebP": (_uri(b"RIFF" + bytes(4) + b"WEBPVP8 "), "invalid_media"),
    "an empty reference": ("", "invalid_media"),
    "an address": ("http://127.0.0.1:9/x.png", "remote_media"),
    "a file": ("file:///etc/passwd", "remote_media"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_picture_is_400_and_the_engine_lives(base: str, name: str) -> None:
    url, code = BAD[name]
    client = AsyncOpenAI(base_url=base, api_key="any", max_retries=0)
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(messages=_user(TEXT, _part(url)), **ASKED)
    assert (refused.value.code, refused.value.param) == (code, "messages[0].content[1].image_url.url")
    made = await client.chat.completions.create(messages=_user(TEXT), **{**ASKED, "max_tokens": 1})
    assert made.choices


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
    ],
    ids=["audio", "video"],
)
async def test_what_the_model_cannot_take_is_named(base: str, part: dict[str, Any]) -> None:
    client = AsyncOpenAI(base_url=base, api_key="any", max_retries=0)
    with pytest.raises(openai.BadRequestError, match=r"[Tt]his model takes no") as refused:
        await client.chat.completions.create(messages=_user(part), **ASKED)
    assert refused.value.code == "unsupported_media"
    assert str(refused.value.param).startswith(f"messages[0].content[0].{part['type']}")


async def test_a_model_that_sees_nothing_says_so(base: str) -> None:
    client = AsyncOpenAI(base_url=base, api_key="any", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="This model takes no image") as refused:
        await client.chat.completions.create(model=MODEL, messages=_user(TEXT, _part(_uri(RED))))
    assert refused.value.param == "messages[0].content[1].image_url.url"


class Listener:
    """A socket of this test that nobody should ever contact."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/picture.png"

    def contacted(self) -> bool:
        try:
            self.socket.accept()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.socket.close()


def _bodies(url: str) -> dict[str, tuple[str, bytes]]:
    """Every place where llama-server looks for media, with an address in it: path, body."""
    part, image = _part(url), {"type": "input_image", "image_url": url}
    source = {"type": "image", "source": {"type": "url", "url": url}}
    audio = {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}}
    returned = {"type": "function_call_output", "call_id": "c", "output": [image]}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [source]}
    chat: dict[str, Any] = {
        "image_url": _user(TEXT, part),
        "input_audio": _user(audio),
        "input_audio by url": _user({"type": "input_audio", "input_audio": {"url": url}}),
        "input_video": _user({"type": "input_video", "input_video": {"data": url}}),
        "video_url": _user({"type": "video_url", "video_url": {"url": url}}),
        "a system message": [{"role": "system", "content": [part]}, *_user(TEXT)],
        "a tool's result": [*_user(TEXT), {"role": "tool", "tool_call_id": "t", "content": [part]}],
    }
    found = {name: ("chat/completions", _json(messages=messages)) for name, messages in chat.items()}
    found["https"] = ("chat/completions", _json(messages=_user(_part(url.replace("http:", "https:")))))
    found["a good one beside it"] = ("chat/completions", _json(messages=_user(_part(_uri(RED)), part)))
    twice = _json(messages=_user(_part("GOOD"))).replace(b'"GOOD"', f'"{_uri(RED)}","url":"{url}"'.encode())
    listed = PLAYLIST.replace(b"ADDRESS", url.encode())  # which ffmpeg would open
    found["a playlist"] = ("chat/completions", _json(messages=_user(_part(_uri(listed, "video/mp4")))))
    found["a playlist as a picture"] = ("chat/completions", _json(messages=_user(_part(_uri(listed)))))
    found["said twice"] = ("chat/completions", twice)
    found["input_image"] = ("responses", _json(input=[{"role": "user", "content": [image]}]))
    found["function_call_output"] = ("responses", _json(input=[{"role": "user", "content": "x"}, returned]))
    found["source"] = ("messages", _json(messages=_user(source), max_tokens=4))
    found["tool_result"] = ("messages", _json(messages=_user(result), max_tokens=4))
    return found


def _json(**fields: Any) -> bytes:
    payload = aiohttp.JsonPayload({"model": VISION_MODEL, **fields})
    return payload.decode().encode()


async def test_nothing_is_fetched(base: str, session: aiohttp.ClientSession, listener: Listener) -> None:
    for name, (path, body) in _bodies(listener.url).items():
        headers = {"Content-Type": "application/json"}
        async with session.post(f"{base}/{path}", data=body, headers=headers) as response:
            error = (await response.json())["error"]
            refused = "invalid_media" if "playlist" in name else "remote_media"
            assert (response.status, error["code"]) == (400, refused), name
    assert not listener.contacted()
