"""The last lines that a process wrote: a ring bounded in number and in length.

Not here: the process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_PIECE_BYTES = 64 * 1024


class Tail:
    """Follows a stream of output. Each whole line also goes to `on_line`, cut to `width` characters."""

    def __init__(self, lines: int, width: int, on_line: Callable[[str], None]) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._width = width
        self._on_line = on_line
        self._rest = b""

    def __repr__(self) -> str:
        return f"<Tail lines={len(self._lines)}>"

    def last(self, count: int) -> list[str]:
        """The newest `count` lines, oldest first."""
        return list(self._lines)[-count:]

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Read to the end. Always reads on, so that the writer never blocks."""
        while piece := await stream.read(_PIECE_BYTES):
            self._feed(piece)
        if self._rest:
            self._take(self._rest)
            self._rest = b""

    def _feed(self, piece: bytes) -> None:
        *whole, rest = (self._rest + piece).split(b"\n")
        for line in whole:
            self._take(line)
        # What is beyond the width is dropped at once, so that an endless line costs no memory.
        self._rest = rest[: 4 * self._width]

    def _take(self, raw: bytes) -> None:
        line = raw[: 4 * self._width].decode("utf-8", errors="replace").rstrip()[: self._width]
        if line:
            self._lines.append(line)
            self._on_line(line)
