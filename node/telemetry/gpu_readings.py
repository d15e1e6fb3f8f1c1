"""What the GPUs are at, for whoever asks and however often.

A reading blocks, and a driver that is wedged never returns: so it is made in a thread of its own, one at a time and at
most one a second, and nobody waits for it long. Not here: how it is made (gpus).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from node.gpus import Gpu

log = logging.getLogger("waypost.node")

_FRESH_S = 1.0
_WAIT_S = 2.0
_STALE_S = 10.0  # what was read longer ago is no answer any more


class GpuReadings:
    """`read` gives a reading and may block; `now` gives seconds of a clock that is never set."""

    def __init__(self, read: Callable[[], tuple[Gpu, ...]], now: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._now = now
        self._last: tuple[Gpu, ...] = ()
        self._fault = ""
        self._read_at = float("-inf")
        self._began_at = float("-inf")
        self._reading: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<GpuReadings {len(self._last)} GPUs{' reading' if self._reading else ''}>"

    async def latest(self) -> tuple[Gpu, ...]:
        """A reading of this second; an older one, or none, where there is no newer in time."""
        if self._reading is None and self._now() - self._read_at >= _FRESH_S:
            self._begin()
        left = self._began_at + _WAIT_S - self._now()
        if self._reading is not None and left > 0:
            await asyncio.wait((self._reading,), timeout=left)
        return self._last if self._now() - self._read_at < _STALE_S else ()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._began_at, self._reading = self._now(), loop.create_future()

        def work() -> None:
            found: tuple[Gpu, ...] = ()
            fault = ""
            try:
                found = self._read()
            except Exception as error:  # whatever it was, who waits is told
                fault = str(error) or type(error).__name__
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._ended, found, fault)

        # Not of the loop's pool: at the end of the program all of that are waited for.
        threading.Thread(target=work, name="gpus", daemon=True).start()

    def _ended(self, found: tuple[Gpu, ...], fault: str) -> None:
        self._last, self._read_at = found, self._now()
        if fault and fault != self._fault:
            log.warning("the GPUs cannot be read: %s", fault)
        self._fault = fault
        if self._reading is not None:
            self._reading.set_result(None)
        self._reading = None


def numbered(gpus: Sequence[Gpu]) -> Iterator[tuple[str, Gpu]]:
    """Each with what tells it from the others here: its index, and of which piece where it is cut up (MIG)."""
    shared, seen = Counter(gpu.index for gpu in gpus), Counter[int]()
    for gpu in gpus:
        yield f"{gpu.index}.{seen[gpu.index]}" if shared[gpu.index] > 1 else str(gpu.index), gpu
        seen[gpu.index] += 1
