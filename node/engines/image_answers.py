"""An answer about pictures in OpenAI's form: one JSON object, or server-sent events.

Not here: how the pictures are made (images).
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from node.engines.image_jobs import Step
from relay.image_input import ImageWish

_QUIET_S = 15.0  # proxies and the hops before this one take a longer silence for an end
_COMMENT = b": still at it\n\n"


@dataclass(frozen=True)
class Picture:
    """One that is done. `url` where that was asked for."""

    data: bytes
    url: str | None
    seed: int


def answer(pictures: Sequence[Picture], wish: ImageWish, size: tuple[int, int]) -> bytes:
    """The JSON object of a request that was not streamed."""
    data = [_said(picture) for picture in pictures]
    return orjson.dumps({"created": int(time.time()), "data": data, **_about(wish, size)})


async def events(
    made: AsyncGenerator[Step | Picture, None],
    wish: ImageWish,
    size: tuple[int, int],
    *,
    edit: bool,
    quiet_s: float = _QUIET_S,
) -> AsyncGenerator[bytes, None]:
    """A progress event at each step, a completed one for each picture, and comments in between where it is quiet."""
    kind = "image_edit" if edit else "image_generation"
    async with aclosing(_with_silences(made, quiet_s)) as told:
        async for event in told:
            if event is None:
                yield _COMMENT
            elif isinstance(event, Step):
                at = {"image": event.image, "images": wish.n, "step": event.step, "steps": event.steps}
                yield _event(f"{kind}.progress", at)
            else:
                said = await asyncio.to_thread(_said, event)
                yield _event(f"{kind}.completed", {**said, "created_at": int(time.time()), **_about(wish, size)})


async def _with_silences(
    made: AsyncGenerator[Step | Picture, None], quiet_s: float
) -> AsyncGenerator[Step | Picture | None, None]:
    """None wherever nothing came for a while."""
    coming: asyncio.Task[Step | Picture] | None = None
    try:
        while True:
            coming = coming or asyncio.create_task(_next(made))
            done, _ = await asyncio.wait((coming,), timeout=quiet_s)
            if not done:
                yield None
                continue
            finished, coming = coming, None
            try:
                yield finished.result()
            except StopAsyncIteration:
                return
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait((coming,))
        await made.aclose()


async def _next(made: AsyncGenerator[Step | Picture, None]) -> Step | Picture:
    return await anext(made)


def _said(picture: Picture) -> dict[str, Any]:
    if picture.url is not None:
        return {"url": picture.url, "seed": picture.seed}
    return {"b64_json": base64.b64encode(picture.data).decode(), "seed": picture.seed}


def _about(wish: ImageWish, size: tuple[int, int]) -> dict[str, Any]:
    return {"output_format": wish.output_format, "size": f"{size[0]}x{size[1]}", "background": "opaque"}


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **fields}) + b"\n\n"
