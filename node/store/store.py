"""The folder of fetched weights: `fetch` gives the file that a URI names, whole, checked, and fetched once.

Who asks for what is on its way already joins in, in this process (one task a URI) or in another (a lock on the folder).
What is there is not asked for again, and works without a network. Not here: what a URI may be (uri), opening a file
(weights).
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from node.store.bar import Bar
from node.store.blocking import ended
from node.store.limits import Limits
from node.store.meter import Meter
from node.store.progress import Progress
from node.store.resolving import Resolver
from node.store.shelf import Shelf
from node.store.site import Site
from node.store.transfer import Transfer
from node.uri import RemoteUri
from node.weights import WeightsError

_TICK_S = 0.25


@dataclass
class _Running:
    task: asyncio.Task[Path]
    meter: Meter


class Store:
    """Owns the fetches of this process. `aleph_api` is the URL of a node of the Aleph network."""

    def __init__(self, folder: Path, aleph_api: str, *, limits: Limits | None = None) -> None:
        self._folder = folder.absolute()
        self._aleph_api = aleph_api
        self._limits = limits or Limits()
        self._site: Site | None = None
        self._running: dict[RemoteUri, _Running] = {}
        self._tasks: set[asyncio.Task[Path]] = set()  # those too that were stopped and have not ended yet
        self._bar = Bar(sys.stderr)
        self._ticking: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Store {self._folder}: {len(self._running)} on their way>"

    async def fetch(self, uri: RemoteUri, progress: Progress) -> Path:
        """The file, the first part where a model is split. `progress` is kept up to date meanwhile.

        Raises WeightsError, one line with the fix. Cancelled: goes on if somebody else waits for the same, else stops
        and keeps what has come.
        """
        if self._closed:
            raise WeightsError(f"{uri.shown}: the node is stopping")
        shelf = Shelf(self._folder, uri)
        if uri not in self._running and shelf.ready():
            progress.done = progress.total = shelf.size()
            return shelf.files[0]
        running = self._running.get(uri) or self._start(uri, shelf, progress)
        running.meter.join(progress)
        try:
            return await asyncio.shield(running.task)
        finally:
            running.meter.leave(progress)
            if not running.meter.watched:
                await self._stop(uri, running)

    async def close(self) -> None:
        """Stop what is on its way, and keep what has come."""
        self._closed = True
        await asyncio.gather(*(self._stop(uri, running) for uri, running in list(self._running.items())))
        await asyncio.gather(*(ended(task) for task in self._tasks))
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait([self._ticking])
        if self._site is not None:
            await self._site.close()

    def _start(self, uri: RemoteUri, shelf: Shelf, progress: Progress) -> _Running:
        if self._site is None:
            self._site = Site(self._limits)
        meter = Meter(progress.name)
        resolver = Resolver(self._site, self._aleph_api, self._limits)
        transfer = Transfer(
            uri, shelf, meter, self._site, resolver, self._limits, lambda: self._others(meter)
        )  # fmt: skip
        running = _Running(asyncio.create_task(self._run(uri, transfer, meter), name=f"fetch {uri.shown}"), meter)
        self._running[uri] = running
        self._tasks.add(running.task)
        running.task.add_done_callback(self._tasks.discard)
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick(), name="fetching: progress")
        return running

    async def _run(self, uri: RemoteUri, transfer: Transfer, meter: Meter) -> Path:
        clock = asyncio.get_running_loop().time
        since = clock()
        self._bar.begin(meter.progress, uri.shown)
        try:
            path = await transfer.run()
        except BaseException:
            self._bar.drop(meter.progress)
            raise
        finally:
            if (running := self._running.get(uri)) is not None and running.meter is meter:
                del self._running[uri]  # else it was stopped, and what is there was begun since
        self._bar.end(meter.progress, clock() - since)
        return path

    async def _stop(self, uri: RemoteUri, running: _Running) -> None:
        """Nobody waits for it any more. Whoever asks again, from now on, begins anew where this ended."""
        if self._running.get(uri) is running:
            del self._running[uri]
        running.task.cancel()
        await ended(running.task)
        if not running.task.cancelled():
            running.task.exception()  # whoever waited for it has had it

    async def _tick(self) -> None:
        """While anything is on its way: measure the speed, show it."""
        clock = asyncio.get_running_loop().time
        while self._running:
            for running in self._running.values():
                running.meter.tick(clock())
            self._bar.draw([running.meter.progress for running in self._running.values()])
            await asyncio.sleep(_TICK_S)

    def _others(self, meter: Meter) -> int:
        return sum(running.meter.remaining for running in self._running.values() if running.meter is not meter)
