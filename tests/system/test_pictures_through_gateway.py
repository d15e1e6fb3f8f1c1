"""Pictures made and then edited, through gateway and node, with the official OpenAI client and a real sd-server.

The model has random weights, so what a picture shows is not looked at. Not here: streams, leaving early and bad input
(test_images).
"""

from __future__ import annotations

import base64
import io

import aiohttp
import pytest
from openai import AsyncOpenAI
from PIL import Image

from deploy import samples
from tests.stack import IMAGE_ALIAS, IMAGE_MODEL, Stack

pytestmark = pytest.mark.engine
PROMPT = "a lighthouse"


@pytest.fixture(scope="module")
def client(full_stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=full_stack.base_url, api_key="any key does", max_retries=0)


async def test_a_picture_is_made_and_then_edited(client: AsyncOpenAI) -> None:
    made = await client.images.generate(model=IMAGE_MODEL, prompt=PROMPT, size="96x64")  # type: ignore[call-overload]
    first = _png(made.data[0].b64_json, (96, 64))
    changed = await client.images.edit(
        model=IMAGE_MODEL,
        image=("picture.png", first, "image/png"),
        prompt="the same at night",
        size="64x96",  # type: ignore[arg-type]
    )
    assert _png(changed.data[0].b64_json, (64, 96)) != first


async def test_an_edit_is_as_large_as_was_asked_though_the_picture_is_not(client: AsyncOpenAI) -> None:
    changed = await client.images.edit(
        model=IMAGE_ALIAS,
        image=[("one.png", samples.picture(), "image/png"), ("two.png", samples.picture(), "image/png")],
        mask=("mask.png", samples.picture(), "image/png"),
        prompt=PROMPT,
        size="128x64",  # type: ignore[arg-type]
    )
    _png(changed.data[0].b64_json, (128, 64))


async def test_several_pictures(client: AsyncOpenAI) -> None:
    made = await client.images.generate(model=IMAGE_MODEL, prompt=PROMPT, n=3, size="64x64")  # type: ignore[call-overload]
    assert len({_png(item.b64_json, (64, 64)) for item in made.data}) == 3


async def test_a_seed_makes_the_same_picture_again(client: AsyncOpenAI) -> None:
    made = [
        await client.images.generate(model=IMAGE_MODEL, prompt=PROMPT, size="64x64", extra_body={"seed": seed})  # type: ignore[call-overload]
        for seed in (7, 7, 8)
    ]
    first, again, other = (item.data[0].b64_json for item in made)
    assert first == again
    assert first != other


async def test_a_picture_by_url(client: AsyncOpenAI, session: aiohttp.ClientSession) -> None:
    """The address is the node's own, and works without a key."""
    made = await client.images.generate(model=IMAGE_MODEL, prompt=PROMPT, size="64x64", response_format="url")
    assert made.data[0].b64_json is None
    async with session.get(str(made.data[0].url)) as response:
        assert (response.status, response.content_type) == (200, "image/png")
        assert samples.size_of_png(await response.read()) == (64, 64)
    async with session.get(f"{made.data[0].url}0") as response:
        assert response.status in (403, 404)


async def test_other_formats(client: AsyncOpenAI) -> None:
    made = await client.images.generate(model=IMAGE_MODEL, prompt=PROMPT, size="64x64", output_format="jpeg")  # type: ignore[call-overload]
    picture = Image.open(io.BytesIO(base64.b64decode(made.data[0].b64_json)))
    assert (picture.format, picture.size) == ("JPEG", (64, 64))


def _png(encoded: str | None, size: tuple[int, int]) -> bytes:
    """The picture, once it is seen to be a whole PNG of that size."""
    assert encoded is not None
    data = base64.b64decode(encoded)
    assert samples.size_of_png(data) == size
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert (picture.format, picture.size) == ("PNG", size)
    return data
