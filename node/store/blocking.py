"""Work that blocks, in a thread; never left running behind the back of who was cancelled.

A disk that is slow for a moment must not hold up the streams that this process relays. Not here: the work itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from threading import Event
from typing import ParamSpec, TypeVar

from node.store.room import Room

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """For one fetch. Long work looks at `stopped` now and then; errors of the disk become `room`'s words."""

    def __init__(self, room: Room) -> None:
        self.stopped = Event()
        self._room = room

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Its result. Raises WeightsError for an OSError. Cancelled: waits for the thread, then raises."""
        running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self.stopped.set()
            await ended(running)
            if not running.cancelled():
                running.exception()  # it has been seen
            raise
        except OSError as error:
            raise self._room.fault(error) from error


async def ended(running: asyncio.Future[T]) -> None:
    """Wait for its end, however often who waits is cancelled meanwhile: who called it raises in the end."""
    while not running.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([running])
