"""Pictures through gateway and node, with the official OpenAI client for Python, by the real sd-server."""

from __future__ import annotations

import asyncio
import base64
import re
from io import BytesIO

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI
from PIL import Image

from tests.stack import IMAGE_ALIAS, IMAGE_MODEL, Stack

pytestmark = pytest.mark.engine
FAST = {"steps": 1, "cfg_scale": 1.0}
FREED_S = 30.0


@pytest.fixture
def client(full_stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=full_stack.base_url, api_key="any key does", max_retries=0)


def opened(b64_json: str | None) -> Image.Image:
    image = Image.open(BytesIO(base64.b64decode(b64_json or "")))
    image.load()
    return image


async def test_a_picture_is_made_and_then_edited(client: AsyncOpenAI) -> None:
    made = await client.images.generate(
        model=IMAGE_MODEL, prompt="a lighthouse", n=2, size="96x64", extra_body=FAST | {"seed": 4}
    )
    assert made.data is not None
    assert [opened(item.b64_json).size for item in made.data] == [(96, 64)] * 2
    first = base64.b64decode(made.data[0].b64_json or "")
    edited = await client.images.edit(
        model=IMAGE_ALIAS, prompt="a red boat", image=("first.png", first), size="64x80", extra_body=FAST
    )
    assert edited.data is not None
    [item] = edited.data
    assert (opened(item.b64_json).format, opened(item.b64_json).size) == ("PNG", (64, 80))
    assert item.b64_json != made.data[0].b64_json


async def test_several_pictures_and_a_mask_are_edited(client: AsyncOpenAI) -> None:
    written = BytesIO()
    Image.effect_noise((64, 64), 60).save(written, format="PNG")
    sent = written.getvalue()
    edited = await client.images.edit(
        model=IMAGE_MODEL, prompt="a boat", image=[("a.png", sent), ("b.png", sent)], mask=("m.png", sent),
        extra_body=FAST,
    )  # fmt: skip
    assert edited.data is not None
    assert [opened(item.b64_json).size for item in edited.data] == [(64, 64)]


async def test_a_url_leads_to_the_node_and_cannot_be_forged(client: AsyncOpenAI, full_stack: Stack) -> None:
    made = await client.images.generate(
        model=IMAGE_MODEL, prompt="a boat", size="64x64", response_format="url", extra_body=FAST
    )
    assert made.data is not None
    url = made.data[0].url or ""
    assert url.startswith(full_stack.nodes[0].url)
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            assert Image.open(BytesIO(await response.read())).size == (64, 64)
        for forged in (re.sub(r"signature=.", "signature=x", url), url.partition("?")[0]):
            async with session.get(forged) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (404, "file_not_found")


async def test_a_stream_ends_with_the_picture(client: AsyncOpenAI) -> None:
    stream = await client.images.generate(
        model=IMAGE_MODEL,
        prompt="a boat",
        size="64x64",
        stream=True,
        partial_images=2,
        extra_body={"steps": 3, "cfg_scale": 1.0},
    )
    events = [event async for event in stream]
    assert [event.type for event in events[:-1]] == ["image_generation.progress"] * (len(events) - 1)
    assert events[-1].type == "image_generation.completed"
    assert opened(events[-1].b64_json).size == (64, 64)


async def test_a_client_that_leaves_frees_the_engine(client: AsyncOpenAI) -> None:
    leaving = asyncio.create_task(
        client.images.generate(model=IMAGE_MODEL, prompt="a boat", n=10, extra_body=FAST | {"steps": 100})
    )
    stream = await client.images.generate(model=IMAGE_MODEL, prompt="a boat", stream=True, extra_body={"steps": 100})
    leaving.cancel()
    await stream.close()
    async with asyncio.timeout(FREED_S):
        made = await client.images.generate(model=IMAGE_MODEL, prompt="a boat", extra_body=FAST)
    assert made.data


@pytest.mark.parametrize("content", [b"", b"this is no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
async def test_a_file_that_is_no_picture_is_named(client: AsyncOpenAI, content: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.edit(model=IMAGE_MODEL, prompt="a boat", image=("a.png", content), extra_body=FAST)
    assert refused.value.param == "image"
    assert await client.images.generate(model=IMAGE_MODEL, prompt="a boat", extra_body=FAST)
