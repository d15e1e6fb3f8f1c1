"""What a request for pictures must be like, and what it asks for: generations in JSON, edits as a form.

Here rather than at an engine, so that what cannot be answered troubles neither a node nor an engine; an engine reads
the same wish from both. Not here: what a particular model can do, and whether an uploaded file is really a picture.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.errors import BadRequest, TooLarge
from relay.form import Form, Part

MOST_PROMPT = 32_000  # characters
MOST_PICTURES = 10  # made by one request, as at OpenAI
MOST_IMAGES = 16  # sent with one request, as at OpenAI
LEAST_SIDE, MOST_SIDE = 64, 2048
IMAGE_LIMIT_BYTES = 50 * 1024 * 1024
SIZE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")
_INTEGER = re.compile(r"[+-]?[0-9]{1,16}")
_FLAGS = {"true": True, "false": False}
CHOICES = {
    "response_format": ("b64_json", "url"),
    "output_format": ("png", "jpeg", "webp"),
    "quality": ("auto", "high", "medium", "low", "standard", "hd"),
    "style": ("vivid", "natural"),
    "background": ("auto", "transparent", "opaque"),
    "moderation": ("auto", "low"),
    "input_fidelity": ("high", "low"),
}
INTEGERS = {
    "n": (1, MOST_PICTURES),
    "output_compression": (0, 100),
    "partial_images": (0, 3),
    "steps": (1, 150),
    "seed": (-1, 2**53 - 1),
}
NUMBERS = {"cfg_scale": (0.0, 100.0), "guidance": (0.0, 100.0), "strength": (0.0, 1.0)}
TEXTS = ("negative_prompt", "user")
_FIELDS = (*CHOICES, *INTEGERS, *NUMBERS, *TEXTS, "prompt", "size", "stream")


@dataclass(frozen=True)
class ImageWish:
    """What is asked for. None: not said, so the engine's own default. `size` is (width, height) in pixels."""

    prompt: str
    n: int
    size: tuple[int, int] | None
    as_url: bool
    output_format: str
    output_compression: int | None
    stream: bool
    background: str | None
    negative_prompt: str | None
    seed: int | None  # -1: any
    steps: int | None
    cfg_scale: float | None
    guidance: float | None
    strength: float | None  # of an edit: 0 keeps the picture, 1 ignores it


def check_generation(body: Mapping[str, Any]) -> None:
    """Raises BadRequest that names the field and the fix."""
    read_generation(body)


def check_edit(form: Form) -> None:
    """Raises BadRequest or TooLarge that names the field and the fix."""
    read_edit(form)
    edit_images(form)
    edit_mask(form)


def read_generation(body: Mapping[str, Any]) -> ImageWish:
    """What the JSON object of `images/generations` asks for. Raises BadRequest."""
    return _wish(body)


def read_edit(form: Form) -> ImageWish:
    """What the text fields of `images/edits` ask for. Raises BadRequest."""
    return _wish({name: _typed(name, text) for name in _FIELDS if (text := _single(form, name)) is not None})


def edit_images(form: Form) -> list[Part]:
    """The pictures to edit, in the form's order. Raises BadRequest or TooLarge."""
    found = sorted((*form.files("image"), *form.files("image[]")), key=lambda part: part.start)
    if not found and (form.texts("image") or form.texts("image[]")):
        raise BadRequest("'image' must be a file, not a text.", param="image", code="invalid_type")
    if not found:
        raise BadRequest("You must send an 'image': a PNG, JPEG or WebP file.", param="image", code="missing_image")
    if len(found) > MOST_IMAGES:
        text = f"There are {len(found)} files in 'image', and {MOST_IMAGES} is the limit."
        raise BadRequest(text, param="image", code="too_many_images")
    for part in found:
        _check_file("image", part)
    return found


def edit_mask(form: Form) -> Part | None:
    """The mask, where there is one. Raises BadRequest or TooLarge."""
    found = form.files("mask")
    if form.texts("mask"):
        raise BadRequest("'mask' must be a file, not a text.", param="mask", code="invalid_type")
    if len(found) > 1:
        raise BadRequest("There is more than one 'mask'; send one.", param="mask", code="too_many_images")
    for part in found:
        _check_file("mask", part)
    return found[0] if found else None


def _check_file(field: str, part: Part) -> None:
    size = part.end - part.start
    if size == 0:
        raise BadRequest(
            f"The file in '{field}' is empty; send a PNG, JPEG or WebP file.", param=field, code="empty_file"
        )
    if size > IMAGE_LIMIT_BYTES:
        text = f"The file in '{field}' has {size} bytes, and {IMAGE_LIMIT_BYTES} is the limit."
        raise TooLarge(text, param=field, code="file_too_large")
    said = (part.content_type or "").partition(";")[0].strip().lower()
    if said and not said.startswith("image/") and said != "application/octet-stream":
        text = f"The file in '{field}' is said to be {said!r}; send a PNG, JPEG or WebP file."
        raise BadRequest(text, param=field, code="invalid_image")


def _single(form: Form, name: str) -> str | None:
    found = form.texts(name)
    if form.files(name):
        raise BadRequest(f"'{name}' must be a text field, not a file.", param=name, code="invalid_type")
    if len(found) > 1:
        raise BadRequest(f"'{name}' is given more than once.", param=name, code="invalid_value")
    return found[0] if found else None


def _typed(name: str, text: str) -> Any:
    """A form's text as the value that JSON would have; the text itself where it is none, which the checks refuse."""
    if name in INTEGERS and _INTEGER.fullmatch(text):
        return int(text)
    if name in NUMBERS:
        try:
            return float(text)
        except ValueError:
            return text
    return _FLAGS.get(text.lower(), text) if name == "stream" else text


def _wish(given: Mapping[str, Any]) -> ImageWish:
    prompt = given.get("prompt")
    if prompt is None:
        raise BadRequest("You must provide a 'prompt'.", param="prompt", code="missing_prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadRequest("'prompt' must be a non-empty string.", param="prompt", code="invalid_type")
    for name in ("prompt", *TEXTS):
        _check_text(name, given.get(name))
    chosen = {name: _choice(name, given.get(name)) for name in CHOICES}
    integers = {name: _within(name, given.get(name), int) for name in INTEGERS}
    numbers = {name: _within(name, given.get(name), int | float) for name in NUMBERS}
    stream = given.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise BadRequest("'stream' must be true or false.", param="stream", code="invalid_type")
    return ImageWish(
        prompt=prompt,
        n=integers["n"] or 1,
        size=_size(given.get("size")),
        as_url=chosen["response_format"] == "url",
        output_format=chosen["output_format"] or "png",
        output_compression=integers["output_compression"],
        stream=bool(stream),
        background=chosen["background"],
        negative_prompt=given.get("negative_prompt"),
        seed=integers["seed"],
        steps=integers["steps"],
        **numbers,
    )


def _check_text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"'{name}' must be a string.", param=name, code="invalid_type")
    if value is not None and len(value) > MOST_PROMPT:
        text = f"'{name}' has {len(value)} characters, and {MOST_PROMPT} is the limit."
        raise BadRequest(text, param=name, code="string_too_long")


def _choice(name: str, value: Any) -> str | None:
    choices = CHOICES[name]
    if value is None or (isinstance(value, str) and value in choices):
        return value
    raise BadRequest(f"'{name}' must be one of {', '.join(choices)}.", param=name, code="invalid_value")


def _within(name: str, value: Any, kind: Any) -> Any:
    if value is None:
        return None
    least, most = (INTEGERS | NUMBERS)[name]
    what = "an integer" if name in INTEGERS else "a number"
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value) or not least <= value <= most:
        text = f"'{name}' must be {what} from {least:g} to {most:g}."
        raise BadRequest(text, param=name, code="invalid_value")
    return value


def _size(value: Any) -> tuple[int, int] | None:
    if value is None or value == "auto":
        return None
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        width, height = int(found[1]), int(found[2])
        if LEAST_SIDE <= width <= MOST_SIDE and LEAST_SIDE <= height <= MOST_SIDE:
            return width, height
    text = f"'size' must be 'auto' or WIDTHxHEIGHT, such as 512x512, with sides from {LEAST_SIDE} to {MOST_SIDE}."
    raise BadRequest(text, param="size", code="invalid_size")
