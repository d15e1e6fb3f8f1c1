"""What one worker has yet to be told. However slow it is, this holds no more than a key for each node.

A key that changes often is told once, as it is by then; who is gone goes first. Not here: what is true (source).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from gateway.pace import Pace
from gateway.workers.channel import Channel, Kind
from gateway.workers.source import Source
from registry.trust import Key

__all__ = ["Feed"]

_ROWS = 128  # in one message: some milliseconds of a worker's time
_NAMES = 2_000
_ALIVE_S = 1.0  # so often is the state told, whatever happens


class Feed:
    """One worker's. `mark` and `replaced` only note; `run` tells."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._begun = False
        self._curation_due = False
        self._gone: dict[Key, None] = {}
        self._changed: dict[Key, None] = {}
        self._wake = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Feed due={len(self._gone) + len(self._changed)} begun={self._begun}>"

    def mark(self, keys: Iterable[Key], *, gone: bool = False) -> None:
        """Something changed about these."""
        if not self._begun:
            return  # it will be told of all that there is
        for key in keys:
            self._gone.pop(key, None)
            self._changed.pop(key, None)
            (self._gone if gone else self._changed)[key] = None
        self._wake.set()

    def replaced(self) -> None:
        """Another directory is in force, by other curators' lists. What it changed is marked by now."""
        self._curation_due = True
        self._wake.set()

    def wake(self) -> None:
        """Tell what there is to tell."""
        self._wake.set()

    async def run(self, channel: Channel) -> None:
        """Until cancelled. Raises ConnectionError where the worker is gone."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ALIVE_S):
                    await self._wake.wait()
            self._wake.clear()
            pace = Pace()
            for kind, content in self._due():
                await channel.send(kind, content)
                await pace.step()
            await channel.send(Kind.STATE, self._source.state())

    def _due(self) -> Iterator[tuple[Kind, Any]]:
        """Message by message, each true when it is taken. While a directory is being replaced there is none."""
        if not self._begun and self._source.settled:
            yield from self._begin()
        replacing = self._curation_due and self._source.settled
        if replacing:
            self._curation_due = False
            yield Kind.CURATION, self._source.curation()
        while self._begun and self._source.settled and (rows := self._rows()):
            yield Kind.CHANGES, rows
        if replacing and not self._curation_due and not self._gone and not self._changed and self._source.settled:
            yield Kind.WHOLE, None

    def _begin(self) -> Iterator[tuple[Kind, Any]]:
        """All that there is is due; what becomes of it meanwhile is marked."""
        names = iter(self._source.names().items())
        self._changed = dict.fromkeys(self._source.keys())
        self._begun = self._curation_due = True
        while piece := dict(islice(names, _NAMES)):
            yield Kind.NAMES, piece

    def _rows(self) -> list[Any]:
        keys = [*islice(self._gone, _ROWS)] or [*islice(self._changed, _ROWS)]
        for key in keys:
            self._gone.pop(key, None)
            self._changed.pop(key, None)
        return [self._source.row(key).written() for key in keys]
