"""A board in memory with several hosts, which can hide postings, be away, and prove who owns a virtual machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from registry.backend import Unreachable


@dataclass
class MemoryHost:
    """See `registry.backend.Backend`. Hosts with one `postings` list are hosts of one board."""

    url: str
    postings: list[str]
    board: str = "memory"
    faults: int = 0
    paid: bool = False
    away: bool = False
    stalls: bool = False
    hidden: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fetched: int = 0

    async def exists(self) -> bool:
        return True

    async def publish(self, envelope_json: str) -> None:
        self.postings.append(envelope_json)

    async def fetch(self) -> AsyncIterator[list[str]]:
        self._check()
        self.fetched = len(self.postings)
        yield [text for text in self.postings if text not in self.hidden]

    async def watch(self) -> AsyncIterator[str]:
        while True:
            self._check()
            while self.fetched < len(self.postings):
                text = self.postings[self.fetched]
                self.fetched += 1
                if text not in self.hidden:
                    yield text
            await asyncio.sleep(0.01)

    async def retire(self, operator: str, node: str, below_seq: int) -> None:
        return

    async def allow(self, delegate: str) -> bool:
        return False

    async def disallow(self, delegates: Sequence[str]) -> bool:
        return False

    async def vm_owner(self, item_hash: str) -> str | None:
        self.asked.append(item_hash)
        self._check()
        if self.stalls:
            await asyncio.Event().wait()
        return self.owners.get(item_hash)

    async def close(self) -> None:
        return

    def _check(self) -> None:
        if self.away:
            raise Unreachable(f"{self.url} is away")
