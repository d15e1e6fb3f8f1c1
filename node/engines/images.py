"""sd-server: pictures from words, and from other pictures.

One server a model, on a Unix socket in a private folder. A request is not passed on: it is read, and a job is made of
it that holds nothing but what was understood. So no option hides in a prompt, and no file or address is ever named to
the engine. Not here: its flags (image_flags), what is asked of it (image_request), its jobs (image_jobs), uploads
(image_files), the answer's form (image_answers).
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson

from node.engines.child import ChildEngine
from node.engines.engine import EngineError
from node.engines.environment import for_engine
from node.engines.image_answers import Picture, answer, events
from node.engines.image_files import decode, exactly, fitted, fitted_mask
from node.engines.image_flags import LIMITED, ImageSizing, arguments, hopeless
from node.engines.image_jobs import Step, run_job
from node.engines.image_request import check, jobs_of
from node.engines.program import Carried, Found, find
from node.pictures import Pictures
from node.process import ProcessLimits
from relay.answer import EVENT_STREAM, Answer, Made
from relay.call import Call
from relay.errors import BadRequest, BadUpstream, TooLarge, UpstreamTimeout
from relay.form import Form, Part
from relay.image_input import LEAST_SIDE, MOST_SIDE, ImageWish, edit_images, edit_mask, read_edit, read_generation
from relay.limits import Limits

_CARRIED = Carried("sd-server", "stable-diffusion-cpp-python", "stable-diffusion.cpp", "--sd-server")
_UPLOADS_LIMIT_BYTES = 128 * 1024 * 1024  # all pictures of a request, as they are sent on


async def find_image_build(path: Path | None) -> Found:
    """The named sd-server, or the one that stable-diffusion-cpp-python carries. Raises EngineError."""
    found = await find(_CARRIED, path, "--help")
    if b"Unix socket" not in found.printed:
        raise EngineError(f"{found.path} lacks the patch of scripts/sd, without which it cannot be cancelled; run make")
    return found


class ImageEngine(ChildEngine):
    """One model in one sd-server. `companions` are the files beside its weights, by the names of image_flags."""

    health_path = "/"  # it has no better one

    def __init__(
        self,
        build: Found,
        name: str,
        weights: Path,
        companions: Mapping[str, Path],
        sizing: ImageSizing,
        flags: Sequence[str],
        socket: Path,
        pictures: Pictures,
        process_limits: ProcessLimits,
        limits: Limits,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        command = [*LIMITED, str(build.path), *arguments(weights, companions, sizing, socket), *flags]
        slots = 1  # it makes one picture at a time
        super().__init__(
            name, slots, command, for_engine(os.environ), socket, process_limits, limits,
            weights=weights, hopeless=lambda lines: hopeless(lines, name), on_change=on_change,
        )  # fmt: skip
        self._sizing = sizing
        self._pictures = pictures

    async def ask(self, call: Call) -> Answer:
        """Make the pictures. Raises ApiError; whoever stops waiting ends the work."""
        wish, size, files = await self._understood(call)
        jobs = jobs_of(wish, size, files)
        made = self._made(wish, size, jobs)
        if wish.stream:
            told = events(made, wish, size, edit=call.form is not None)
            return Made(await anext(told), EVENT_STREAM, told)
        found: list[Picture] = []
        try:
            async with asyncio.timeout(self._limits.head_s), aclosing(made):
                found = [event async for event in made if isinstance(event, Picture)]
        except TimeoutError as error:
            raise UpstreamTimeout("The pictures were not made in time.", code="head_timeout") from error
        return Made(await asyncio.to_thread(answer, found, wish, size))

    async def _understood(self, call: Call) -> tuple[ImageWish, tuple[int, int], dict[str, Any]]:
        """What is asked for, at which size, and the pictures that go with it as sd-server wants them."""
        wish = read_generation(call.fields) if call.form is None else read_edit(call.form)
        check(wish)
        if call.form is None:
            return wish, self._fits(wish.size or self._sizing.size), {}
        return wish, *await self._uploads(call.form, wish)

    async def _uploads(self, form: Form, wish: ImageWish) -> tuple[tuple[int, int], dict[str, Any]]:
        """Each is decoded, brought to the size, and dropped before the next one is looked at."""
        parts, mask = edit_images(form), edit_mask(form)
        first = await asyncio.to_thread(decode, await _content(form, parts[0]), "image")
        size = self._fits(wish.size or first.size)
        images = [await asyncio.to_thread(fitted, first, size)]
        of_mask = None
        if mask is not None:
            of_mask = await asyncio.to_thread(decode, await _content(form, mask), "mask")
            if of_mask.size != first.size:
                text = f"'mask' is {_by(of_mask.size)} and the picture is {_by(first.size)}; make them the same size."
                raise BadRequest(text, param="mask", code="invalid_mask")
        del first
        for part in parts[1:]:
            image = await asyncio.to_thread(decode, await _content(form, part), "image")
            images.append(await asyncio.to_thread(fitted, image, size))
            if sum(map(len, images)) > _UPLOADS_LIMIT_BYTES:
                raise TooLarge("The pictures are too large together; send fewer.", param="image", code="too_large")
        files: dict[str, Any] = {"init_image": _text(images[0]), "ref_images": [_text(image) for image in images]}
        if of_mask is not None:
            files["mask_image"] = _text(await asyncio.to_thread(fitted_mask, of_mask, size))
        return size, files

    def _fits(self, size: tuple[int, int]) -> tuple[int, int]:
        if size[0] * size[1] > self._sizing.most_pixels or not LEAST_SIDE <= min(size) <= max(size) <= MOST_SIDE:
            text = (
                f"{_by(size)} is not a size for this model; ask by 'size' for sides from {LEAST_SIDE} to {MOST_SIDE} "
            )
            text += f"and at most {self._sizing.most_pixels} pixels in all, such as {_by(self._sizing.size)}."
            raise BadRequest(text, param="size", code="invalid_size")
        return size

    async def _made(
        self, wish: ImageWish, size: tuple[int, int], jobs: Sequence[dict[str, Any]]
    ) -> AsyncGenerator[Step | Picture, None]:
        """Steps, counted over all jobs, and the pictures in their order."""
        before = 0
        for job in jobs:
            body = await asyncio.to_thread(orjson.dumps, job)
            async with aclosing(run_job(self.door, self.life, body, self._limits.head_s)) as running:
                async for event in running:
                    if isinstance(event, Step):
                        image = min(max(event.image, 1), job["batch_count"])
                        yield Step(before + image, event.step, event.steps)
                        continue
                    if len(event) != job["batch_count"]:
                        raise BadUpstream("The engine made too few pictures.", code="engine_failed")
                    for at, data in enumerate(event):
                        yield await self._finished(data, wish, size, job["seed"] + at)
            before += job["batch_count"]

    async def _finished(self, data: bytes, wish: ImageWish, size: tuple[int, int], seed: int) -> Picture:
        try:
            cut = await asyncio.to_thread(exactly, data, size, wish.output_format, wish.output_compression)
        except ValueError as error:
            raise BadUpstream("The engine's picture cannot be used.", code="engine_failed") from error
        url = await self._pictures.keep(cut, wish.output_format) if wish.as_url else None
        return Picture(cut, url, seed)


async def _content(form: Form, part: Part) -> bytes:
    return b"".join([piece async for piece in form.pieces(part.start, part.end)])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
