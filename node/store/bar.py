"""What a person sees of downloads: one line that moves on a terminal, lines in the log elsewhere.

Not here: measuring (meter), `/health`.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Sequence
from typing import TextIO

from node.store.progress import Progress, size_text

log = logging.getLogger("waypost.node")

_STEP = 10  # percent between two lines of the log
_STEP_BYTES = 1024**3  # where the source does not say how much there is
_ERASE = "\r\x1b[K"


class Bar:
    """Owns the last line of the terminal while something is fetched. `out` is None in a process that has none."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._terminal = out is not None and not out.closed and out.isatty()
        self._told: dict[int, int] = {}

    def begin(self, progress: Progress, shown: str) -> None:
        """A fetch has begun, of the place `shown`."""
        self._erase()
        self._told[id(progress)] = 0
        log.info("%s: fetching %s", progress.name, shown)

    def draw(self, running: Sequence[Progress]) -> None:
        """As things stand now; call it several times a second."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(_ERASE + line(running, width))
            return
        for progress in running:
            step = _step(progress)
            if step > self._told.get(id(progress), 0):
                self._told[id(progress)] = step
                log.info("%s", state(progress))

    def end(self, progress: Progress, seconds: float) -> None:
        """It is here, whole. `seconds`: how long it took."""
        self._erase()
        self._told.pop(id(progress), None)
        log.info("%s: fetched %s in %.0f s", progress.name, size_text(progress.done), seconds)

    def drop(self, progress: Progress) -> None:
        """It ended otherwise; whoever ended it says why."""
        self._erase()
        self._told.pop(id(progress), None)

    def _erase(self) -> None:
        if self._terminal:
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        """A terminal that was closed is none any more; what is being fetched comes all the same."""
        self._terminal = False
        with contextlib.suppress(OSError, ValueError):
            if self._out is not None:
                self._out.write(text)
                self._out.flush()
                self._terminal = True


def line(running: Sequence[Progress], width: int) -> str:
    """All of them in one line of at most `width` characters."""
    text = " | ".join(state(progress) for progress in running)
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."[: max(0, width)]


def state(progress: Progress) -> str:
    """`smollm2: 45 %, 44.1 MiB of 98.2 MiB, 12.3 MiB/s, 0:04 to go`"""
    parts = [size_text(progress.done)]
    if progress.total:
        parts = [f"{percent(progress)} %", f"{size_text(progress.done)} of {size_text(progress.total)}"]
    parts.append(f"{size_text(progress.per_s)}/s")
    if (left := progress.remaining_s) is not None:
        parts.append(f"{int(left) // 60}:{int(left) % 60:02} to go")
    return f"{progress.name}: {', '.join(parts)}"


def percent(progress: Progress) -> int:
    """Whole percents, of which 100 is only for what is all there."""
    return progress.done * 100 // progress.total if progress.total else 0


def _step(progress: Progress) -> int:
    return percent(progress) // _STEP if progress.total else progress.done // _STEP_BYTES
