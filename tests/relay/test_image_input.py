"""What a request for pictures must be like, and how what is not so is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from relay.errors import BadRequest
from relay.form import read_form
from relay.image_input import (
    MOST_IMAGES,
    MOST_PROMPT,
    check_edit,
    check_generation,
    edit_images,
    read_edit,
    read_generation,
)
from relay.incoming import Taken
from tests.relay.serving import Served, serving

LIMIT_BYTES = 1024 * 1024


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 10, "size": "64x2048"},
        {"size": "auto", "quality": "hd", "style": "vivid", "moderation": "low", "background": "transparent"},
        {"response_format": "url", "output_format": "webp", "output_compression": 0, "user": "me"},
        {"seed": 2**53 - 1, "steps": 150, "cfg_scale": 7, "guidance": 3.5, "negative_prompt": ""},
        {"seed": -1, "stream": True, "partial_images": 3},
        {"n": None, "size": None, "stream": None, "seed": None, "cfg_scale": None},
        {"prompt": "x" * MOST_PROMPT, "unknown": {"fields": "pass"}},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_good_bodies_are_taken(changes: dict[str, Any]) -> None:
    check_generation({"model": "m", "prompt": "a lighthouse", **changes})


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "x" * (MOST_PROMPT + 1)}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": -1}, "n"),
        ({"n": 11}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": "2"}, "n"),
        ({"size": "512"}, "size"),
        ({"size": "512X512"}, "size"),
        ({"size": "63x512"}, "size"),
        ({"size": "512x2049"}, "size"),
        ({"size": "99999x1"}, "size"),
        ({"size": "-512x512"}, "size"),
        ({"size": "512x512\n"}, "size"),
        ({"size": "٥١٢x512"}, "size"),
        ({"size": [512, 512]}, "size"),
        ({"response_format": "png"}, "response_format"),
        ({"response_format": {"type": "url"}}, "response_format"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_compression": 101}, "output_compression"),
        ({"quality": "best"}, "quality"),
        ({"style": 1}, "style"),
        ({"background": "red"}, "background"),
        ({"moderation": "high"}, "moderation"),
        ({"seed": 2**53}, "seed"),
        ({"seed": -2}, "seed"),
        ({"seed": 1.0}, "seed"),
        ({"steps": 0}, "steps"),
        ({"steps": 151}, "steps"),
        ({"cfg_scale": -1}, "cfg_scale"),
        ({"cfg_scale": "7"}, "cfg_scale"),
        ({"guidance": float("inf")}, "guidance"),
        ({"strength": 1.1}, "strength"),
        ({"negative_prompt": 1}, "negative_prompt"),
        ({"user": []}, "user"),
        ({"stream": "true"}, "stream"),
        ({"partial_images": 4}, "partial_images"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_bodies_are_refused_by_field(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_generation({"model": "m", "prompt": "a lighthouse", **changes})
    assert refused.value.param == param
    assert param in refused.value.message


def test_what_is_not_said_is_left_to_the_engine() -> None:
    wish = read_generation({"prompt": "x"})
    assert (wish.n, wish.size, wish.seed, wish.steps, wish.strength) == (1, None, None, None, None)
    assert (wish.as_url, wish.output_format, wish.stream) == (False, "png", False)


async def _read(request: web.Request) -> web.StreamResponse:
    with await read_form(Taken(request), LIMIT_BYTES) as form:
        check_edit(form)
        wish = read_edit(form)
        told = {"n": wish.n, "size": wish.size, "seed": wish.seed, "strength": wish.strength, "stream": wish.stream}
        return web.json_response(told | {"images": [form.read(part, 9).decode() for part in edit_images(form)]})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving([web.post("/edit", _read)]) as made:
        yield made


def file(name: str, content: bytes = b"png", media_type: str = "image/png") -> tuple[str, dict[str, Any]]:
    return name, {"value": content, "filename": "a.png", "content_type": media_type}


def text(name: str, value: str) -> tuple[str, dict[str, Any]]:
    return name, {"value": value}


async def edit(served: Served, *fields: tuple[str, dict[str, Any]]) -> tuple[int, Any]:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, field in fields:
        form.add_field(name, **field)
    async with aiohttp.ClientSession() as session, session.post(f"{served.url}/edit", data=form) as response:
        return response.status, await response.json()


PROMPT = text("prompt", "a red boat")


async def test_a_form_says_what_json_would_say(served: Served) -> None:
    options = (text("n", "2"), text("size", "256x128"), text("seed", "-1"), text("strength", "0.5"))
    status, told = await edit(served, file("image"), PROMPT, *options, text("stream", "True"))
    assert status == 200, told
    assert told == {"n": 2, "size": [256, 128], "seed": -1, "strength": 0.5, "stream": True, "images": ["png"]}


async def test_both_names_of_a_picture_are_taken_in_their_order(served: Served) -> None:
    sent = (file("image[]", b"one"), file("image", b"two"), PROMPT, file("image[]", b"three"), file("mask"))
    status, told = await edit(served, *sent)
    assert (status, told.get("images")) == (200, ["one", "two", "three"])


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ((PROMPT,), "image", "missing_image"),
        ((PROMPT, text("image", "png")), "image", "invalid_type"),
        ((PROMPT, text("image[]", "https://example.org/a.png")), "image", "invalid_type"),
        ((PROMPT, file("image", b"")), "image", "empty_file"),
        ((PROMPT, file("image"), file("mask", b"")), "mask", "empty_file"),
        ((PROMPT, file("image"), text("mask", "x")), "mask", "invalid_type"),
        ((PROMPT, file("image"), file("mask"), file("mask")), "mask", "too_many_images"),
        ((PROMPT, *[file("image[]")] * (MOST_IMAGES + 1)), "image", "too_many_images"),
        ((PROMPT, file("image", media_type="audio/wav")), "image", "invalid_image"),
        ((PROMPT, file("image", media_type="text/plain")), "image", "invalid_image"),
        ((file("image"),), "prompt", "missing_prompt"),
        ((file("image"), text("prompt", "")), "prompt", "invalid_type"),
        ((file("image"), file("prompt")), "prompt", "invalid_type"),
        ((file("image"), PROMPT, text("prompt", "another")), "prompt", "invalid_value"),
        ((file("image"), PROMPT, text("n", "-1")), "n", "invalid_value"),
        ((file("image"), PROMPT, text("n", "two")), "n", "invalid_value"),
        ((file("image"), PROMPT, text("n", "9" * 400)), "n", "invalid_value"),
        ((file("image"), PROMPT, text("strength", "nan")), "strength", "invalid_value"),
        ((file("image"), PROMPT, text("size", "big")), "size", "invalid_size"),
        ((file("image"), PROMPT, text("stream", "maybe")), "stream", "invalid_type"),
    ],
)
async def test_bad_forms_are_refused_by_field(served: Served, fields: Any, param: str, code: str) -> None:
    status, told = await edit(served, *fields)
    assert (status, told["error"]["param"], told["error"]["code"]) == (400, param, code)
