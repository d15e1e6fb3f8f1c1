"""One file from one host: asked for until it is whole, checked, and only then visible.

Not here: what an answer means (ranges), which file (resolving), who else wants it (transfer).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import ClientResponse

from node.store.blocking import Blocking
from node.store.limits import Limits
from node.store.pace import Pace, least_bytes
from node.store.partial import Partial
from node.store.patience import Broken, Patience
from node.store.ranges import Held, Incoming, Refused, Stale, asked, read_answer
from node.store.site import Site, shown
from node.store.source import Source
from node.weights import WeightsError

log = logging.getLogger("waypost.node")

_BATCH_BYTES = 1024 * 1024
_BATCH_S = 1.0


@dataclass(frozen=True)
class Reports:
    """Whom a download tells: `came(size)` how many bytes of the file are there, `announced(total)` how many it has.

    `announced` raises WeightsError where there is no room for them, and returns the bytes of the whole model. Of a
    file whose length nobody says it is asked again and again.
    """

    came: Callable[[int], None]
    announced: Callable[[int | None], int | None]


class Download:
    """Makes `partial` whole. Cancelled at any point, it keeps what has come."""

    def __init__(
        self, source: Source, partial: Partial, site: Site, blocking: Blocking, reports: Reports, limits: Limits
    ) -> None:
        self._source = source
        self._partial = partial
        self._site = site
        self._do = blocking.do
        self._reports = reports
        self._limits = limits
        self._patience = Patience(shown(source.url), limits)
        self._rewarded = 0  # how many bytes were there at the last reward
        self._restarts = 0
        self._begun = False  # to put down the present answer

    async def run(self) -> str:
        """The file's SHA-256, once it is in place. Raises WeightsError."""
        try:
            await self._do(self._partial.open)
            sha256 = await self._checked(again=True)
            await self._do(self._partial.publish, sha256, shown(self._source.url))
            return sha256
        finally:
            self._partial.close()

    async def _checked(self, again: bool) -> str:
        """Whole, and with the right digest. What was pieced together from several answers gets a second chance."""
        await self._fill()
        sha256 = await self._do(self._partial.seal)
        if self._source.sha256 in (None, sha256):
            return sha256
        spliced = self._partial.spliced
        wrong = (
            f"{shown(self._source.url)}: the sha256 of what came is {sha256}, not {self._source.sha256} as asked for"
        )
        if not (spliced and again):
            await self._do(self._partial.drop)
            raise WeightsError(f"{wrong}; it was thrown away: check the digest, and whether the file has changed there")
        log.warning("%s; it came in pieces, so once more from the first byte", wrong)
        await self._do(self._partial.clear)
        return await self._checked(again=False)

    async def _fill(self) -> None:
        self._rewarded = max(self._rewarded, self._partial.size)
        while not self._partial.whole:
            try:
                await self._once()
            except Stale as stale:
                await self._restart(str(stale))
            except Broken as broken:
                await self._patience.wait(broken)
            except Refused as refused:
                raise WeightsError(f"{shown(self._source.url)}: {refused}") from refused

    async def _once(self) -> None:
        held, vouched = self._partial.held, self._source.sha256 is not None
        headers = asked(held, vouched)
        async with self._site.open("GET", self._source.url, headers, self._source.authorization) as response:
            incoming = read_answer(response.status, response.headers, held if "Range" in headers else Held(), vouched)
            if self._source.size is not None and incoming.total not in (None, self._source.size):
                raise Broken(f"its file has {incoming.total} bytes, not {self._source.size} as was said of it")
            if incoming.begin == 0 and held.size:
                self._count_restart("it sent the whole file again: it has changed there, or the host sends no ranges")
            await self._pour(response, incoming, self._reports.announced(incoming.total))

    async def _pour(self, response: ClientResponse, incoming: Incoming, all_bytes: int | None) -> None:
        """The body onto the disk, in batches: a thread for each little piece would cost more than the piece.

        What is there is not touched before there is something to put in its place.
        """
        clock = asyncio.get_running_loop().time
        batch, since, pace = bytearray(), clock(), Pace(self._limits, clock())
        there = incoming.begin
        self._begun = False
        try:
            async for piece in self._site.read(response):
                batch += piece
                there += len(piece)
                if incoming.end is not None and there > incoming.end:
                    batch.clear()
                    raise Stale("it sends more bytes than it announced")
                pace.take(len(piece), clock())
                if len(batch) >= _BATCH_BYTES or clock() - since >= _BATCH_S:
                    await self._write(batch, incoming, all_bytes)
                    since = clock()
        finally:
            await self._write(batch, incoming, all_bytes)
        if not self._begun:
            raise Broken("not a byte came")
        if incoming.end is None:
            await self._do(self._partial.end)
        elif self._partial.size < incoming.end:
            raise Broken(f"the answer ended at byte {self._partial.size} of {incoming.end}")

    async def _write(self, batch: bytearray, incoming: Incoming, all_bytes: int | None) -> None:
        if not batch:
            return
        piece = bytes(batch)
        batch.clear()
        if incoming.end is None:
            self._reports.announced(None)
        if not self._begun:
            self._begun = True
            await self._do(self._partial.begin, incoming, all_bytes)
        await self._do(self._partial.append, piece)
        if self._partial.size - self._rewarded >= least_bytes(self._limits):
            self._rewarded = self._partial.size
            self._patience.rewarded()
        self._reports.came(self._partial.size)

    async def _restart(self, why: str) -> None:
        self._count_restart(why)
        await self._do(self._partial.clear)
        self._reports.came(0)

    def _count_restart(self, why: str) -> None:
        self._restarts += 1
        if self._restarts > self._limits.restarts:
            raise WeightsError(
                f"{shown(self._source.url)}: {why}; given up after {self._restarts} beginnings: "
                "try another host, or another time"
            )
        log.warning("%s: %s; from the first byte", shown(self._source.url), why)
        self._rewarded = 0
