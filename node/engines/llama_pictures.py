"""What the bytes of a picture or sound say of themselves, before any decoder is let near them.

llama-server hands what it does not know to ffmpeg, which opens playlists, and so files and addresses; and a small file
can say that it is a picture of a billion pixels. Not here: where media stand in a body (llama_media).
"""

from __future__ import annotations

import base64
import binascii
import re

MOST_PIXELS = 50_000_000  # decoded, that is 150 MB

_IMAGE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|BM", re.DOTALL)
_AUDIO = re.compile(rb"RIFF....WAVE|ID3|\xff[\xe2-\xfb]|fLaC", re.DOTALL)
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the segments that hold width and height
_MOST_SEGMENTS = 1000


class Encoded:
    """Data in base64, read in places without decoding it whole."""

    def __init__(self, reference: str) -> None:
        """`reference` is base64, or a data URI."""
        self._from = reference.find(",") + 1 if reference.startswith("data:") else 0
        self._text = reference

    def read(self, at: int, count: int) -> bytes:
        """Bytes from an offset; fewer at the end, none where it is no base64."""
        first = at // 3 * 4
        text = self._text[self._from + first : self._from + first + (count + 2) // 3 * 4 + 4]
        try:
            return base64.b64decode(text[: len(text) // 4 * 4], validate=True)[at % 3 : at % 3 + count]
        except binascii.Error:
            return b""

    @property
    def is_image(self) -> bool:
        """Whether it begins as PNG, JPEG, GIF or BMP do."""
        return _IMAGE.match(self.read(0, 16)) is not None

    @property
    def is_audio(self) -> bool:
        """Whether it begins as WAV, MP3 or FLAC do."""
        return _AUDIO.match(self.read(0, 16)) is not None

    @property
    def pixels(self) -> int:
        """Of an image: as many as it says that it has; 0 where it does not say."""
        head = self.read(0, 26)
        if head.startswith(b"\x89PNG"):
            return int.from_bytes(head[16:20]) * int.from_bytes(head[20:24])
        if head.startswith(b"GIF"):
            return int.from_bytes(head[6:8], "little") * int.from_bytes(head[8:10], "little")
        if head.startswith(b"BM"):
            width, height = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22))
            return abs(width * height)
        return self._jpeg_pixels()

    def _jpeg_pixels(self) -> int:
        at = 2
        for _ in range(_MOST_SEGMENTS):
            segment = self.read(at, 9)
            if len(segment) < 9 or segment[0] != 0xFF:
                return 0
            if segment[1] in _JPEG_SIZES:
                return int.from_bytes(segment[5:7]) * int.from_bytes(segment[7:9])
            at += 1 if segment[1] == 0xFF else 2 + int.from_bytes(segment[2:4])
        return 0
