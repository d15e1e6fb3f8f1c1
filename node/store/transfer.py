"""One fetch of one URI: all its files, by this process or by another one that was there first.

Not here: who waits for it (store), one file (download).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from node.store.blocking import Blocking
from node.store.download import Download, Reports
from node.store.limits import Limits
from node.store.meter import Meter
from node.store.partial import Partial
from node.store.resolving import Resolver
from node.store.room import Room
from node.store.shelf import Shelf
from node.store.site import Site, shown
from node.store.source import Source
from node.uri import RemoteUri
from node.weights import WeightsError

log = logging.getLogger("waypost.node")


class Transfer:
    """`elsewhere` tells how many bytes this process's other fetches will still write."""

    def __init__(
        self, uri: RemoteUri, shelf: Shelf, meter: Meter, site: Site, resolver: Resolver, limits: Limits,
        elsewhere: Callable[[], int],
    ) -> None:  # fmt: skip
        self._uri = uri
        self._shelf = shelf
        self._meter = meter
        self._site = site
        self._resolver = resolver
        self._limits = limits
        self._elsewhere = elsewhere
        self._room = Room(shelf.folder, limits.reserve_bytes)
        self._blocking = Blocking(self._room)
        self._told = False

    async def run(self) -> Path:
        """The first file, all of them whole. Raises WeightsError."""
        try:
            async with self._shelf.alone(self._limits.look_s, self._wait):
                await self._blocking.do(self._shelf.settle, self._blocking.stopped)
                if not self._shelf.ready():
                    await self._fetch(await self._resolver.resolve(self._uri))
        except OSError as error:  # the folder or its lock: downloads translate their own
            raise self._room.fault(error) from error
        size = self._shelf.size()
        self._meter.set(size, size)
        return self._shelf.files[0]

    async def _fetch(self, sources: tuple[Source, ...]) -> None:
        there = [self._there(source) for source in sources]
        if None not in there:  # all of them, and yet they are not what is asked for
            there = [None for _ in sources]
        sizes = [source.size if size is None else size for source, size in zip(sources, there, strict=True)]
        behind = 0
        for at, source in enumerate(sources):
            size = there[at]
            if size is None:
                size = await self._one(source, behind, sizes[at + 1 :])
            behind += size
        if (found := self._shelf.wrong()) is not None:
            await self._blocking.do(self._shelf.clear)
            raise WeightsError(
                f"{self._uri.shown}: the sha256 of its {len(sources)} files together is {found}, "
                f"not {self._uri.sha256} as asked for; they were thrown away: check the digest"
            )

    def _there(self, source: Source) -> int | None:
        """The size of a file that need not be fetched: one of several that came before a stop."""
        record = self._shelf.kept(self._shelf.folder / source.name)
        if record is None or source.sha256 not in (None, record.sha256):
            return None
        if source.sha256 is None and record.source != shown(source.url):
            return None  # of another commit, say: nothing tells that it has not changed in between
        return record.size if source.size in (None, record.size) else None

    async def _one(self, source: Source, behind: int, ahead: list[int | None]) -> int:
        """Fetch one file; `behind` bytes of others are there, `ahead` are still to come. Returns its size."""
        partial = Partial(self._shelf.folder / source.name, source.url, self._blocking.stopped)

        def came(size: int) -> None:
            self._meter.set(behind + size, self._meter.progress.total)

        def announced(total: int | None) -> int | None:
            rest = sum(size or 0 for size in ahead)
            whole = None if total is None or None in ahead else behind + total + rest
            self._meter.set(behind + partial.size, whole)
            self._room.check(max(0, (total or 0) - partial.size) + rest + self._elsewhere())
            return whole

        reports = Reports(came, announced)
        await Download(source, partial, self._site, self._blocking, reports, self._limits).run()
        return partial.size

    def _wait(self) -> None:
        if not self._told:
            self._told = True
            log.info("%s: another process is fetching it; waiting for that", self._uri.shown)
        self._meter.set(self._shelf.size(), self._shelf.announced() or self._meter.progress.total)
