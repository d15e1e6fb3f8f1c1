"""What is made when it is first asked for, and then kept.

Not here: what that is, such as looking for an engine's program (engines).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

_Made = TypeVar("_Made")


class Once(Generic[_Made]):
    """One value for all who ask. Who is cancelled as he waits cancels nobody else; what failed is tried again."""

    def __init__(self) -> None:
        self._task: asyncio.Task[_Made] | None = None

    async def get(self, make: Callable[[], Coroutine[None, None, _Made]]) -> _Made:
        """The value. Raises what `make` raises."""
        if self._task is None or (self._task.done() and _failed(self._task)):
            self._task = asyncio.create_task(make())
            self._task.add_done_callback(_failed)  # seen, though nobody may wait for it any more
        return await asyncio.shield(self._task)


def _failed(task: asyncio.Task[_Made]) -> bool:
    return task.cancelled() or task.exception() is not None
