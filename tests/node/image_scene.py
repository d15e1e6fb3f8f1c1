"""An image engine with the real sd-server and the demo's random weights, behind the routes that a node gives it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from PIL import Image

from deploy import demo
from node.engines.image_flags import ImageSizing
from node.engines.images import ImageEngine, find_image_build
from node.pictures import Pictures
from node.process import ProcessLimits
from relay.call import BodyLimits, Call
from relay.endpoints import EDITS, IMAGES, Endpoint
from relay.limits import Limits
from relay.stream import relay
from relay.wire.inbound import Inbound
from relay.wire.routes import Handler
from tests.relay.serving import serving

SIZE = (64, 64)
READY_S = 120.0


@dataclass
class Scene:
    """The engine, and where it can be asked."""

    engine: ImageEngine
    url: str
    session: aiohttp.ClientSession

    async def generate(self, prompt: Any = "a lighthouse", **options: Any) -> tuple[int, Any]:
        """With one sampling step and without guidance, unless told otherwise."""
        body = {"model": "m", "prompt": prompt, "steps": 1, "cfg_scale": 1.0, **options}
        async with self.session.post(f"{self.url}/v1/images/generations", json=body) as response:
            return response.status, await response.json()

    async def edit(self, *files: tuple[str, bytes], **fields: str) -> tuple[int, Any]:
        """`files` are (field, content)."""
        form = aiohttp.FormData(default_to_multipart=True)
        for name, content in files:
            form.add_field(name, content, filename=f"{name}.png", content_type="image/png")
        for name, value in {"model": "m", "prompt": "a red boat", "steps": "2", "cfg_scale": "1", **fields}.items():
            form.add_field(name, value)
        async with self.session.post(f"{self.url}/v1/images/edits", data=form) as response:
            return response.status, await response.json()

    @contextlib.asynccontextmanager
    async def streamed(self, **options: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of a generation, as they come."""
        body = {"model": "m", "prompt": "a lighthouse", "cfg_scale": 1.0, "stream": True, **options}
        async with self.session.post(f"{self.url}/v1/images/generations", json=body) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            yield _events(response)


@contextlib.asynccontextmanager
async def scene(folder: Path, flags: tuple[str, ...] = (), on_change: Callable[[], None] = lambda: None) -> Any:
    """A `Scene` whose engine runs, ready or not."""
    base: list[str] = []
    pictures = Pictures(folder / "pictures", lambda: base[0])
    build, weights = await find_image_build(None), Path(str(demo.IMAGE.options()["uri"]))
    engine = ImageEngine(
        build, "m", weights, {}, ImageSizing(threads=2, size=SIZE), flags, folder / "0.sock", pictures,
        ProcessLimits(), Limits(), on_change,
    )  # fmt: skip
    api = {f"/v1/{one.path}": _handler(engine, one) for one in (IMAGES, EDITS)}
    running = asyncio.create_task(engine.run())
    try:
        async with serving(pictures.routes(), api) as served, aiohttp.ClientSession() as session:
            base.append(served.url)
            yield Scene(engine, served.url, session)
    finally:
        running.cancel()
        await asyncio.wait((running,))


def _handler(engine: ImageEngine, endpoint: Endpoint) -> Handler:
    async def handle(inbound: Inbound) -> None:
        with await Call.read(inbound, endpoint, BodyLimits()) as call:
            async with await engine.ask(call) as answer:
                await relay(inbound, answer, call)

    return handle


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Each event's data; its name must be its type."""
    name = ""
    async for line in response.content:
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        if line.startswith(b"data: "):
            event = orjson.loads(line[6:])
            assert event["type"] == name
            yield event


def picture(item: dict[str, Any]) -> Image.Image:
    """What an item of an answer's data holds, decoded to its end."""
    image = Image.open(BytesIO(base64.b64decode(item["b64_json"])))
    image.load()
    return image


def painted(size: tuple[int, int] = SIZE, mode: str = "RGB", file_format: str = "PNG", colour: Any = None) -> bytes:
    """A picture's file."""
    written = BytesIO()
    Image.new(mode, size, colour if colour is not None else 120).save(written, format=file_format)
    return written.getvalue()
