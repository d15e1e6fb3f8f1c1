"""A generator that runs in a thread, read from the event loop step by step. Not here: what it makes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import Enum
from typing import TypeVar

T = TypeVar("T")

_UNREAD_MOST = 32  # steps; of speech that is up to 20 s each, a megabyte


class _Mark(Enum):
    END = "end"


class Slots:
    """At most `count` generators run at once, each in a thread; further ones wait for their turn.

    What a generator has made is kept until it is read; one that is too far ahead of its reader waits, in its slot.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.busy = 0
        self.steps_made = 0
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="slot")

    def __repr__(self) -> str:
        return f"<Slots {self.busy} of {self.count} busy, {self.steps_made} steps made>"

    async def steps(self, make: Callable[[], Generator[T]]) -> AsyncGenerator[T]:
        """What the generator yields, and raises. Closing this stops it at its next step, which frees its slot."""
        loop = asyncio.get_running_loop()
        made: asyncio.Queue[T | _Mark] = asyncio.Queue()
        stopped = threading.Event()
        room = threading.Semaphore(_UNREAD_MOST)

        def run() -> None:
            self._count(busy=1)
            try:
                with closing(make()) as steps:
                    for step in steps:
                        self._count(steps=1)
                        room.acquire()
                        if stopped.is_set():
                            return
                        loop.call_soon_threadsafe(made.put_nowait, step)
            finally:
                self._count(busy=-1)
                loop.call_soon_threadsafe(made.put_nowait, _Mark.END)

        running = self._threads.submit(run)
        try:
            while not isinstance(step := await made.get(), _Mark):
                room.release()
                yield step
            running.result()
        finally:
            stopped.set()
            room.release()
            running.cancel()

    def _count(self, busy: int = 0, steps: int = 0) -> None:
        with self._counting:
            self.busy += busy
            self.steps_made += steps
