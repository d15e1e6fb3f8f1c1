"""Newer adverts from the nodes themselves: days without any registry change nothing.

A node is asked in the last third of its advert's life, and for a day after its end. One that withdrew what it offers,
as it does while its engine does not start, is asked for as long as that would have counted. Not here: judging what it
says.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import aiohttp

from gateway.tls import verification
from registry.advert import MAX_ENVELOPE_BYTES
from registry.trust import Believed, Key
from relay.http import read_at_most

log = logging.getLogger("waypost.gateway")

_RENEW_BEFORE = 3  # a node is asked for its advert in the last third of the one known
_EVERY_S = 20.0
_LIMIT_S = 10.0
_ASKED_FOR_S = 86_400
_AT_ONCE = 32
_A_ROUND = 640  # nodes of one kind; the rest waits for the next round


class Renewal:
    """Owns which nodes are to be asked, and when."""

    def __init__(
        self, session: aiohttp.ClientSession, consider: Callable[[str], object], clock: Callable[[], float]
    ) -> None:
        self._session = session
        self._consider = consider
        self._clock = clock
        self._listed: dict[Key, Believed] = {}  # those that ended lately, or were withdrawn, too
        self._withdrawn: set[Key] = set()
        # Those who were named are asked beside the strangers, not behind them.
        self._heaps: dict[bool, list[tuple[float, int, Key, Believed]]] = {True: [], False: []}
        self._number = count()

    def __repr__(self) -> str:
        return f"<Renewal nodes={len(self._listed)}>"

    def follow(self, key: Key, before: Believed | None, after: Believed | None) -> None:
        """What is believed of a node now, and was before."""
        if after is not None:
            self._withdrawn.discard(key)
            self._listed[key] = after
            lifetime = after.advert.expires_at - after.advert.issued_at
            self._push(after.valid_until - lifetime / _RENEW_BEFORE, key, after)
        elif before is not None and before.valid_until > self._clock():
            self._withdrawn.add(key)
            self._listed[key] = one = replace(before)  # so that what is due for it until now is not
            self._push(self._clock(), key, one)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.renew_due()

    async def renew_due(self) -> None:
        """Ask every node whose advert is near its end for a newer one."""
        await asyncio.gather(*(self._round(self._due(heap)) for heap in self._heaps.values()))

    def _due(self, heap: list[tuple[float, int, Key, Believed]]) -> list[tuple[Key, Believed]]:
        due: list[tuple[Key, Believed]] = []
        now = self._clock()
        while heap and heap[0][0] <= now and len(due) < _A_ROUND:
            _, _, key, one = heapq.heappop(heap)
            if self._listed.get(key) is not one:
                continue
            if one.valid_until + (0.0 if key in self._withdrawn else _ASKED_FOR_S) <= now:
                del self._listed[key]
                self._withdrawn.discard(key)
                continue
            due.append((key, one))
        return due

    async def _round(self, due: list[tuple[Key, Believed]]) -> None:
        for start in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*(self._renew(key, one) for key, one in due[start : start + _AT_ONCE]))

    async def _renew(self, key: Key, one: Believed) -> None:
        raw = await self._advert_of(one)
        if self._listed.get(key) is one:
            self._push(self._clock(), key, one)  # until something newer comes
        if raw:
            self._consider(raw)

    def _push(self, at: float, key: Key, one: Believed) -> None:
        heap = self._heaps[one.explicit]
        heapq.heappush(heap, (at, next(self._number), key, one))
        if len(heap) > 2 * len(self._listed) + _A_ROUND:
            heap[:] = [entry for entry in heap if self._listed.get(entry[2]) is entry[3]]
            heapq.heapify(heap)

    async def _advert_of(self, listed: Believed) -> str | None:
        url = listed.advert.url + "/.well-known/waypost/advert"
        tls = verification(listed.advert.tls_spki_sha256)
        try:
            async with (
                asyncio.timeout(_LIMIT_S),
                self._session.get(url, allow_redirects=False, ssl=tls) as response,
            ):
                body = await read_at_most(response, MAX_ENVELOPE_BYTES)
                return body.decode() if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError) as error:
            log.info("node %s could not be asked for its advert: %s", listed.advert.node, type(error).__name__)
            return None
