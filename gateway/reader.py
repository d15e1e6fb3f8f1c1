"""Reads one host of a board: all of it, then what is new, and all of it again now and then. Away or not, it goes on.

Not here: what a posting means (`registry.trust`), and what the hosts of a board say together (hosts).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from gateway.hosts import Reading
from gateway.pace import Pace
from registry.backend import Backend, BackendError

log = logging.getLogger("waypost.gateway")

_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 10.0
REFETCH_S = 3600.0  # what was withheld or missed is found by then
_REST = 3  # when rules change again and again, all is read again for at most a quarter of the time


class Reader:
    """One host. `up`: it answers."""

    def __init__(
        self,
        backend: Backend,
        consider: Callable[[str], None],
        on_whole: Callable[[], None],
        rules: Callable[[], asyncio.Event],
        clock: Callable[[], float],
    ) -> None:
        """`rules` gives an event that is set when what was refused before may count, and then another one."""
        self.backend = backend
        self.up = False
        self._consider = consider
        self._on_whole = on_whole
        self._rules = rules
        self._clock = clock
        self._read_by = asyncio.Event()
        self._read: tuple[float, float] | None = None
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Reader {self.backend.url} up={self.up} read={self._read is not None}>"

    @property
    def reading(self) -> Reading | None:
        """The last whole one, if it has not been away since."""
        return None if self._read is None else Reading(*self._read, settled=not self._read_by.is_set())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                took_s = await self._read_all(rules := self._rules())
                await self._read_new(rules, took_s)
            except BackendError as error:
                await asyncio.sleep(self._down(error))

    async def _read_all(self, rules: asyncio.Event) -> float:
        """Considers everything, by `rules`; returns how long that took (seconds)."""
        began, started, pace = self._clock(), time.monotonic(), Pace()
        async for batch in self.backend.fetch():
            for raw in batch:
                self._consider(raw)
                await pace.step()
        if self._failures:
            log.info("registry %s is back", self.backend.url)
        self._failures, self.up, self._read, self._read_by = 0, True, (began, self._clock()), rules
        self._on_whole()
        return time.monotonic() - started

    async def _read_new(self, rules: asyncio.Event, took_s: float) -> None:
        """Returns when it is time to read all again: the rules changed since the last time, or that was long ago."""
        watching = asyncio.create_task(self._watch())
        changing = asyncio.create_task(_after(rules, _REST * took_s))
        due_s = REFETCH_S * random.uniform(0.5, 1.0)  # noqa: S311
        try:
            done, _ = await asyncio.wait((watching, changing), timeout=due_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (watching, changing):
                task.cancel()
            await asyncio.gather(watching, changing, return_exceptions=True)

    async def _watch(self) -> None:
        pace = Pace()
        async for raw in self.backend.watch():
            self._consider(raw)
            await pace.step()

    def _down(self, error: BackendError) -> float:
        """Take note of a failure; returns how long to wait (seconds)."""
        level = logging.DEBUG if self._failures else logging.WARNING  # said once: it may be away for days
        log.log(level, "a registry is away; what is known goes on: %s", error)
        most_s: float = min(_BACKOFF_FIRST_S * 2**self._failures, _BACKOFF_MOST_S)
        self._failures = min(self._failures + 1, 16)
        self.up, self._read = False, None
        return most_s * random.uniform(0.5, 1.0)  # noqa: S311


async def _after(event: asyncio.Event, rest_s: float) -> None:
    await asyncio.sleep(rest_s)
    await event.wait()
