"""Uploads that are decoded and written anew, and an engine's pictures cut to size."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from node.engines.image_files import MOST_SCANS, decode, exactly, fitted, fitted_mask
from relay.errors import BadRequest
from tests.node.image_scene import painted


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("RGB", "PNG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("I;16", "PNG"), ("RGBA", "PNG"),
        ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "WEBP"), ("RGBA", "WEBP"),
    ],
)  # fmt: skip
def test_every_kind_of_picture_becomes_a_plain_png(mode: str, file_format: str) -> None:
    image = decode(painted((80, 64), mode, file_format, colour=0), "image")
    made = opened(fitted(image, (48, 96)))
    assert (made.format, made.mode, made.size) == ("PNG", "RGB", (48, 96))


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    written = BytesIO()
    Image.new("RGB", (80, 40)).save(written, format="JPEG", exif=exif)
    assert decode(written.getvalue(), "image").size == (40, 80)


def test_sixteen_bits_of_grey_stay_grey() -> None:
    image = decode(painted((64, 64), "I;16", "PNG", colour=30_000), "image")
    assert opened(fitted(image, (64, 64))).getpixel((32, 32)) == (116, 116, 116)
    assert opened(fitted_mask(image, (64, 64))).getpixel((32, 32)) == 116


def test_a_jpeg_of_endless_scans_is_refused_before_it_costs_anything() -> None:
    written = BytesIO()
    Image.new("RGB", (64, 64)).save(written, format="JPEG", progressive=True)
    whole = written.getvalue()
    assert decode(whole, "image").size == (64, 64)
    last = whole[whole.rfind(b"\xff\xda") : -2]
    with pytest.raises(BadRequest, match="scans"):
        decode(whole[:-2] + last * MOST_SCANS + whole[-2:], "image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_no_cut_or_altered_file_does_anything_but_be_refused(kind: str) -> None:
    written = BytesIO()
    noise = random.Random(7).randbytes(64 * 64 * 3)
    Image.frombytes("RGB", (64, 64), noise).save(written, format=kind)
    whole = written.getvalue()
    for cut in range(0, len(whole) - 20, 97):  # but for the check sums and the mark at the end of a PNG
        with pytest.raises(BadRequest):
            decode(whole[:cut], "mask")
    for at in range(0, len(whole), 31):
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        try:
            decode(bytes(broken), "mask")
        except BadRequest as error:
            assert error.param == "mask"  # a changed pixel alone is no fault


def test_what_is_transparent_is_to_be_painted() -> None:
    mask = Image.new("RGBA", (64, 64), (255, 255, 255, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
    made = opened(fitted_mask(mask, (64, 64)))
    assert (made.mode, made.getpixel((5, 5)), made.getpixel((60, 5))) == ("L", 255, 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_without_transparency_white_is_to_be_painted(mode: str) -> None:
    mask = Image.new(mode, (64, 64), "black")
    mask.paste(Image.new(mode, (32, 64), "white"), (0, 0))
    made = opened(fitted_mask(mask, (64, 64)))
    assert (made.getpixel((5, 5)), made.getpixel((60, 5))) == (255, 0)


def test_a_picture_of_the_right_size_stays_byte_for_byte() -> None:
    data = painted((64, 64))
    assert exactly(data, (64, 64), "png", None) is data


@pytest.mark.parametrize(("kind", "compression"), [("png", None), ("jpeg", 10), ("webp", None)])
def test_a_larger_picture_is_cut(kind: str, compression: Any) -> None:
    made = opened(exactly(painted((64, 64), file_format=kind.upper()), (50, 33), kind, compression))
    assert (made.format, made.size) == (kind.upper(), (50, 33))


@pytest.mark.parametrize("data", [b"", b"no picture", painted((32, 64))])
def test_what_cannot_be_used_is_said(data: bytes) -> None:
    with pytest.raises(ValueError):
        exactly(data, (64, 64), "png", None)
