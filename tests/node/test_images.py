"""Pictures by the real sd-server with random weights: what they show is noise, what they are is not."""

from __future__ import annotations

import asyncio
import re
import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from node.process import State
from tests.node.image_scene import READY_S, SIZE, Scene, painted, picture, scene
from tests.programs import until

pytestmark = pytest.mark.engine
CANCELLED_S = 30.0  # before the next step, on a busy machine


@pytest.fixture(scope="module")
async def ready(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """One engine for the tests that leave it as it was."""
    async with scene(tmp_path_factory.mktemp("images")) as made:
        await made.engine.life.ensure_ready(READY_S)
        yield made
        assert made.engine.life.starts == 1


async def test_a_picture_has_the_size_that_was_asked_for(ready: Scene) -> None:
    status, answer = await ready.generate(size="96x64", seed=7)
    assert status == 200, answer
    assert (answer["size"], answer["output_format"]) == ("96x64", "png")
    assert answer["created"] > 1_700_000_000
    [item] = answer["data"]
    made = picture(item)
    assert (made.format, made.size, made.mode, made.info) == ("PNG", (96, 64), "RGB", {})
    assert item["seed"] == 7


@pytest.mark.parametrize(("options", "size"), [({}, SIZE), ({"size": "auto"}, SIZE), ({"size": "101x67"}, (101, 67))])
async def test_any_size_comes_out_as_it_is(ready: Scene, options: dict[str, Any], size: tuple[int, int]) -> None:
    status, answer = await ready.generate(**options)
    assert status == 200, answer
    assert picture(answer["data"][0]).size == size


async def test_a_seed_repeats_a_picture_and_several_differ(ready: Scene) -> None:
    _, first = await ready.generate(n=2, seed=11)
    _, again = await ready.generate(n=2, seed=11)
    _, later = await ready.generate(seed=12)
    assert [item["b64_json"] for item in first["data"]] == [item["b64_json"] for item in again["data"]]
    assert first["data"][0]["b64_json"] != first["data"][1]["b64_json"]
    assert later["data"][0] == first["data"][1]


async def test_without_a_seed_each_picture_is_another(ready: Scene) -> None:
    answers = [(await ready.generate())[1] for _ in range(2)]
    assert answers[0]["data"][0]["b64_json"] != answers[1]["data"][0]["b64_json"]


async def test_more_than_sd_server_makes_at_once_are_made(ready: Scene) -> None:
    status, answer = await ready.generate(n=10, seed=100)
    assert status == 200, answer
    assert [item["seed"] for item in answer["data"]] == list(range(100, 110))
    assert len({item["b64_json"] for item in answer["data"]}) == 10


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
@pytest.mark.parametrize("size", ["64x64", "70x64"])
async def test_other_formats_are_what_they_say(ready: Scene, output_format: str, size: str) -> None:
    status, answer = await ready.generate(output_format=output_format, output_compression=60, size=size)
    assert status == 200, answer
    made = picture(answer["data"][0])
    assert (made.format, f"{made.width}x{made.height}") == (output_format.upper(), size)


async def test_a_prompt_carries_no_options(ready: Scene) -> None:
    hidden = '<sd_cpp_extra_args>{"width": 128, "batch_count": 3}</sd_cpp_extra_args><lora:/etc/passwd:1>'
    _, plain = await ready.generate("boat", seed=3)
    status, answer = await ready.generate(f"boat{hidden}", seed=3, sd_cpp_extra_args={"width": 128}, width=128)
    assert status == 200, answer
    assert [picture(item).size for item in answer["data"]] == [SIZE]
    assert answer["data"][0]["b64_json"] != plain["data"][0]["b64_json"]  # it was read as words


async def test_a_url_leads_to_the_picture(ready: Scene) -> None:
    _, plain = await ready.generate(seed=5)
    status, answer = await ready.generate(seed=5, response_format="url")
    assert status == 200, answer
    assert "b64_json" not in answer["data"][0]
    url = answer["data"][0]["url"]
    async with ready.session.get(url) as response:
        assert (response.status, response.content_type) == (200, "image/png")
        fetched = await response.read()
    assert len(fetched) * 4 // 3 == pytest.approx(len(plain["data"][0]["b64_json"]), abs=4)
    async with ready.session.get(re.sub(r"expires=\d+", "expires=1", url)) as response:
        assert response.status == 404


async def test_a_stream_tells_of_each_step(ready: Scene) -> None:
    async with ready.streamed(steps=3, n=2, seed=21) as events:
        told = [event async for event in events]
    steps = [(event["image"], event["step"]) for event in told if event["type"] == "image_generation.progress"]
    assert steps == sorted(steps)
    assert steps[-1] == (2, 3)
    assert all(event["steps"] == 3 and event["images"] == 2 for event in told[:-2])
    done = [event for event in told if event["type"] == "image_generation.completed"]
    assert done == told[-2:]
    assert [event["size"] for event in done] == ["64x64", "64x64"]
    _, plain = await ready.generate(steps=3, n=2, seed=21)
    assert [event["b64_json"] for event in done] == [item["b64_json"] for item in plain["data"]]


async def test_an_edit_has_the_pictures_own_size(ready: Scene) -> None:
    status, answer = await ready.edit(("image", painted((96, 80))))
    assert status == 200, answer
    assert picture(answer["data"][0]).size == (96, 80)


async def test_an_edit_depends_on_the_picture(ready: Scene) -> None:
    sent = [_file(Image.effect_noise(SIZE, 80)), _file(Image.linear_gradient("L").resize(SIZE))]
    answers = [await ready.edit(("image", image), seed="1", strength="0.5", steps="10") for image in sent]
    assert [status for status, _ in answers] == [200, 200]
    assert answers[0][1]["data"][0]["b64_json"] != answers[1][1]["data"][0]["b64_json"]


async def test_several_pictures_and_a_mask_are_taken(ready: Scene) -> None:
    mask = Image.new("RGBA", (96, 96), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 48, 96))
    sent = (("image[]", painted((96, 96))), ("image[]", painted((300, 40), "L", "JPEG")), ("mask", _file(mask)))
    status, answer = await ready.edit(*sent, size="64x96", n="2")
    assert status == 200, answer
    assert [picture(item).size for item in answer["data"]] == [(64, 96)] * 2


def _file(image: Image.Image) -> bytes:
    written = BytesIO()
    image.save(written, format="PNG")
    return written.getvalue()


def _bomb(width: int, height: int) -> bytes:
    """A PNG that says it is enormous, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


WHOLE = painted((200, 200), colour=(1, 2, 3))
NOISE = _file(Image.effect_noise((200, 200), 80))
GOOD = ("image", WHOLE)


@pytest.mark.parametrize(
    ("files", "fields", "param", "code"),
    [
        ((("image", NOISE[:-2000]),), {}, "image", "invalid_image"),
        ((("image", WHOLE[:30]),), {}, "image", "invalid_image"),
        ((("image", painted((200, 200), "RGB", "JPEG")[:-100]),), {}, "image", "invalid_image"),
        ((("image", painted((200, 200), "RGB", "WEBP")[:-20]),), {}, "image", "invalid_image"),
        ((("image", b"this is no picture"),), {}, "image", "invalid_image"),
        ((("image", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100)),), {}, "image", "invalid_image"),
        ((("image", painted((64, 64), "RGB", "GIF")),), {}, "image", "invalid_image"),
        ((("image", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),), {}, "image", "invalid_image"),
        ((("image", b""),), {}, "image", "empty_file"),
        ((("image", _bomb(9000, 9000)),), {}, "image", "image_too_large"),
        ((("image", _bomb(30000, 30000)),), {}, "image", "image_too_large"),
        ((("image", _bomb(2**31 - 1, 2**31 - 1)),), {}, "image", "image_too_large"),
        ((GOOD, ("image", b"text")), {}, "image", "invalid_image"),
        ((GOOD, ("mask", b"text")), {}, "mask", "invalid_image"),
        ((GOOD, ("mask", painted((100, 200)))), {}, "mask", "invalid_mask"),
        ((("image", painted((32, 200))),), {}, "size", "invalid_size"),
        ((("image", painted((3000, 1000))),), {}, "size", "invalid_size"),
        ((GOOD,), {"size": "2048x2048"}, "size", "invalid_size"),
        ((GOOD,), {"n": "-1"}, "n", "invalid_value"),
        ((GOOD,), {"steps": "101"}, "steps", "invalid_value"),
        ((GOOD,), {"background": "transparent"}, "background", "unsupported_value"),
        ((GOOD,), {"prompt": "\u00e9" * 1001}, "prompt", "string_too_long"),
        ((), {}, "image", "missing_image"),
    ],
)  # fmt: skip
async def test_bad_edits_are_refused_and_the_engine_lives_on(
    ready: Scene, files: Any, fields: dict[str, str], param: str, code: str
) -> None:
    status, answer = await ready.edit(*files, **fields)
    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, param, code), answer
    assert ready.engine.life.starts == 1


NASTY = ("(a:.)", f"(a:{'9' * 400})", "(" * 2000, "<" * 2000, " " * 1999 + "a", "\U0001f600" * 500, "a\x00b", "[(:)]")


@pytest.mark.parametrize("prompt", NASTY, ids=lambda prompt: f"{prompt[:6]!r} and so on")
async def test_no_prompt_ends_the_engine(ready: Scene, prompt: str) -> None:
    status, answer = await ready.generate(prompt)
    assert status == 200, answer
    assert ready.engine.life.starts == 1


async def test_a_client_that_leaves_ends_the_work(ready: Scene) -> None:
    leaving = asyncio.create_task(ready.generate(steps=100, n=8))
    async with ready.streamed(steps=100) as events:
        async for event in events:
            if event["step"] > 1:
                break
        leaving.cancel()
        await asyncio.wait((leaving,))
    # Both are gone, else this one would wait for 900 steps.
    async with asyncio.timeout(CANCELLED_S):
        status, _ = await ready.generate()
    assert status == 200


async def test_an_engine_killed_while_it_paints_is_said_and_comes_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        await made.engine.life.ensure_ready(READY_S)
        waiting = asyncio.create_task(made.generate(steps=100, n=8))
        async with made.streamed(steps=100) as events:
            assert (await anext(events))["type"] == "image_generation.progress"
            made.engine.life.kill()
            rest = []
            with pytest.raises(aiohttp.ClientPayloadError):  # it must not look complete
                async for event in events:
                    rest.append(event)
        assert rest[-1]["type"] == "error"
        status, answer = await waiting
        assert (status, answer["error"]["code"]) == (502, "upstream_reset")
        await until(lambda: made.engine.life.starts == 2, limit_s=READY_S)
        await made.engine.life.ensure_ready(READY_S)
        assert (await made.generate())[0] == 200


async def test_an_engine_killed_while_it_loads_comes_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        await until(lambda: made.engine.life.state is State.STARTING, limit_s=READY_S)
        made.engine.life.kill()
        await until(lambda: made.engine.life.starts == 2, limit_s=READY_S)
        await made.engine.life.ensure_ready(READY_S)
        assert (await made.generate())[0] == 200


@pytest.mark.parametrize(
    ("flags", "fix"),
    [(("--bogus",), "change flags in"), (("--sampling-method", "nonsense"), "change flags in")],
)
async def test_flags_that_it_does_not_know_are_said_once(tmp_path: Path, flags: tuple[str, ...], fix: str) -> None:
    async with scene(tmp_path, flags) as made:
        await until(lambda: made.engine.life.state is State.FAILED, limit_s=READY_S)
        assert made.engine.life.starts == 1
        assert fix in (made.engine.life.failure or "")
