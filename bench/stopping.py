"""A bench until it has measured, or is told to stop: then everything that it started ends first.

Not here: what is measured.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine

import uvloop

_STOPPED = 130  # as shells tell it


def run(name: str, measuring: Coroutine[None, None, None]) -> None:
    """Raises SystemExit where SIGINT or SIGTERM ended it, and whatever `measuring` raises."""
    try:
        uvloop.run(_until_told(measuring))
    except asyncio.CancelledError:
        print(f"{name}: stopped; everything that it started has ended", file=sys.stderr, flush=True)
        raise SystemExit(_STOPPED) from None


async def _until_told(measuring: Coroutine[None, None, None]) -> None:
    """A second signal does not keep it from ending what it started."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, lambda: task.cancelling() or task.cancel())
    await measuring
