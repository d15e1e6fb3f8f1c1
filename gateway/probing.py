"""Asks nodes of which nothing has been heard for a while how they are, so that no request has to find it out.

What requests find out comes first: asked are only nodes that could not be reached when it was last tried, and those
that are in use, and quiet. Not here: which those are (balance), and whether a node is who it says (challenge).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from enum import Enum

import aiohttp

from gateway.balance import Balance
from gateway.tls import verification
from registry.trust import Believed
from relay.errors import ApiError, ConnectFailed
from relay.reaching import reaching

log = logging.getLogger("waypost.gateway")

PATH = "/health"
_EVERY_S = 5.0
_SPREAD_S = 2.0
_AT_ONCE = 8
_LIMITS = aiohttp.ClientTimeout(total=5.0, sock_connect=3.0)
_ABLE = (200, 202)


class Found(Enum):
    """What a probe says of a node."""

    WELL = "well"
    UNREACHABLE = "unreachable"
    UNCLEAR = "unclear"  # it is there, and says that it starts, or drains, or nothing in time


class Probing:
    """Owns nothing: what it finds out it tells `balance`. `tell` hears of each probe, for the metrics."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        balance: Balance,
        tell: Callable[[Found], None] = lambda _: None,
        *,
        every_s: float = _EVERY_S,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._balance = balance
        self._tell = tell
        self._every_s = every_s
        self._spread = spread
        self._asked = 0

    def __repr__(self) -> str:
        return f"<Probing asked={self._asked}>"

    async def run(self) -> None:
        """Round after round, until cancelled. No node is asked twice at once: a round ends before the next begins."""
        while True:
            await asyncio.sleep(self._every_s + self._spread() * _SPREAD_S)
            await self.ask()

    async def ask(self) -> None:
        """One round."""
        due = self._balance.to_probe(time.monotonic(), _AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for believed in due:
                group.create_task(self._probe(believed))

    async def _probe(self, believed: Believed) -> None:
        node, before = believed.advert.node, time.monotonic()
        found = await probe(self._session, believed)
        self._asked += 1
        if found is not Found.UNCLEAR:
            self._balance.probed(node, before, time.monotonic(), well=found is Found.WELL)
        self._tell(found)
        log.debug("node %s was probed: %s", node, found.value)


async def probe(session: aiohttp.ClientSession, believed: Believed) -> Found:
    """Ask one node for its health; returns within a few seconds."""
    tls = verification(believed.advert.tls_spki_sha256)
    try:
        with reaching():
            url = believed.advert.url + PATH
            async with session.get(url, allow_redirects=False, ssl=tls, timeout=_LIMITS) as response:
                return Found.WELL if response.status in _ABLE else Found.UNCLEAR
    except ConnectFailed:
        return Found.UNREACHABLE
    except ApiError:
        return Found.UNCLEAR
