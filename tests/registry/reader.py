"""A reader of one board as a gateway is one: it fetches, watches, and believes what its trust says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import postings as p
from boards import Board

from registry.advert import Reason
from registry.trust import Policy, Trust

LIMIT_S = 90


class Reader:
    """`now` is p.NOW where none is given."""

    def __init__(self, board: Board, *trusted: str) -> None:
        self.trust = Trust(Policy.parse(trusted or (p.OPERATOR.address,)))
        self._backend = board.open()

    async def read(self) -> None:
        """Everything, from the start, and again where something decides about what stood before it."""
        version = None
        while version != self.trust.policy_version:
            version = self.trust.policy_version
            async for batch in self._backend.fetch():
                for raw in batch:
                    self.trust.consider(raw, p.NOW)

    def watch(self) -> asyncio.Task[None]:
        """Done when the next new posting has been considered."""
        return asyncio.create_task(self._take_one(self._backend.watch()))

    async def _take_one(self, watching: AsyncIterator[str]) -> None:
        self.trust.consider(await asyncio.wait_for(anext(watching), LIMIT_S), p.NOW)

    def believed(self, now: float = p.NOW) -> list[int]:
        """The seq of each advert that counts."""
        return sorted(one.advert.seq for one in self.trust.believed(now))

    def reason(self, text: str, now: float = p.NOW) -> Reason | None:
        return self.trust.judge(text, now).reason
