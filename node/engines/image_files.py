"""Uploaded pictures made safe for an engine, and an engine's pictures made as they were asked for.

An engine never sees a client's bytes: each upload is decoded here and written anew at the size that is wanted. All of
it blocks, so it belongs into a thread. Not here: asking an engine (images).
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image, ImageOps

from relay.errors import BadRequest

MOST_PIXELS = 50_000_000  # of an upload; decoded it takes 3 to 8 bytes a pixel
# A JPEG comes in as many scans as it likes, each of them as much work as the whole, from 75 bytes: a small file could
# keep a thread busy for hours. Those that programs write have some 10.
MOST_SCANS = 100
_SCAN = b"\xff\xda"  # no byte of a picture's data looks like it
_FORMATS = ("PNG", "JPEG", "WEBP")
# What Pillow raises for broken files.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error, zlib.error
)  # fmt: skip
_OPAQUE = (255, 255)


def decode(data: bytes, field: str) -> Image.Image:
    """The whole picture, upright. Raises BadRequest that names the field."""
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise _too_large(field)
        if image.format == "JPEG" and data.count(_SCAN) > MOST_SCANS:
            raise _too_many_scans(field)
        image.load()
        return ImageOps.exif_transpose(_eight_bits(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(field) from error
    except _BROKEN as error:
        text = f"The file in '{field}' is not a whole PNG, JPEG or WebP picture."
        raise BadRequest(text, param=field, code="invalid_image") from error


def _too_large(field: str) -> BadRequest:
    text = f"The picture in '{field}' has more than {MOST_PIXELS} pixels; send a smaller one."
    return BadRequest(text, param=field, code="image_too_large")


def _too_many_scans(field: str) -> BadRequest:
    text = f"The JPEG in '{field}' has more than {MOST_SCANS} scans; send it as a PNG, or with fewer."
    return BadRequest(text, param=field, code="invalid_image")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits, which Pillow would else take for white, brought down to 8."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")


def fitted(image: Image.Image, size: tuple[int, int]) -> bytes:
    """As a PNG of just this size: scaled, and cut where the proportions differ."""
    return _png(ImageOps.fit(image.convert("RGB"), size, Image.Resampling.LANCZOS))


def fitted_mask(mask: Image.Image, size: tuple[int, int]) -> bytes:
    """As a grey PNG in which white is what is to be painted anew.

    That is where the mask is transparent, as at OpenAI; one without any transparency is taken as grey already.
    """
    alpha = mask.convert("RGBA").getchannel("A") if mask.has_transparency_data else None
    grey = mask.convert("L") if alpha is None or alpha.getextrema() == _OPAQUE else ImageOps.invert(alpha)
    return _png(ImageOps.fit(grey, size, Image.Resampling.NEAREST))


def exactly(data: bytes, size: tuple[int, int], output_format: str, compression: int | None) -> bytes:
    """An engine's picture, cut to this size where the engine rounded it up. Raises ValueError for no picture."""
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
        if image.size == size:
            return data
        left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
        if left < 0 or top < 0:
            raise ValueError(f"the engine made {image.size}, smaller than {size}")
        cut = image.crop((left, top, left + size[0], top + size[1]))
        return _written(cut, output_format, compression)
    except _BROKEN as error:
        raise ValueError(f"the engine's picture cannot be read: {error}") from error


def _written(image: Image.Image, output_format: str, compression: int | None) -> bytes:
    if output_format == "png":
        return _png(image)
    written = BytesIO()
    image.save(written, format=output_format.upper(), quality=95 if compression is None else compression)
    return written.getvalue()


def _png(image: Image.Image) -> bytes:
    written = BytesIO()
    image.save(written, format="PNG", compress_level=1)
    return written.getvalue()
