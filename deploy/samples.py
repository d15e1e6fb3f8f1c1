"""A picture and a sound to ask with, made here, so that nothing needs to be shipped."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib

_SIDE = 64  # pixels
_RATE = 16_000  # of the sound, a second
_TONE_HZ = 440
_PNG = b"\x89PNG\r\n\x1a\n"


def picture() -> bytes:
    """A square PNG that goes from dark to blue and red."""
    rows = (b"\0" + bytes(b for x in range(_SIDE) for b in (4 * x, 64, 4 * y)) for y in range(_SIDE))
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"".join(rows))) + _chunk(b"IEND", b"")


def sound() -> bytes:
    """A second of one tone, as WAV."""
    samples = (int(8000 * math.sin(2 * math.pi * _TONE_HZ * i / _RATE)) for i in range(_RATE))
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return written.getvalue()


def size_of_png(data: bytes) -> tuple[int, int]:
    """Width and height. Raises ValueError for anything but a PNG."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        raise ValueError("it is no PNG")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def seconds_of_wav(data: bytes) -> float:
    """By its bytes: a streamed WAV does not know its length in its head. Raises ValueError for anything but a WAV."""
    start = data.find(b"data")
    if not data.startswith(b"RIFF") or start < 0:
        raise ValueError("it is no WAV")
    (bytes_per_second,) = struct.unpack("<I", data[28:32])
    return (len(data) - start - 8) / float(bytes_per_second)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
