"""The contract's events of a range of blocks, in ranges as large as the host bears. Lies are left out and counted.

Not here: which ranges (board), what is in a payload (payload).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

from registry.backend import Unreachable
from registry.evm.abi import POSTED, Entry, read_entry
from registry.evm.rpc import Refusal, Rpc, TooLong, TooMuch

__all__ = ["Logs"]

FIRST_SPAN = 10_000  # blocks
MOST_SPAN = 1_000_000
GOOD_BYTES = 4 * 1024 * 1024  # an answer larger than this is no reason to ask for more blocks
PATIENCE = 16  # good answers before a host that complained once is asked for more again
MOST_TIMEOUTS = 3  # in a row


class Logs:
    """One contract's events as one host shows them."""

    def __init__(self, rpc: Rpc) -> None:
        self.faults = 0
        self._rpc = rpc
        self._span = FIRST_SPAN
        self._good = PATIENCE
        self._timeouts = 0

    def __repr__(self) -> str:
        return f"Logs(span={self._span}, faults={self.faults})"

    async def read(self, first: int, last: int) -> AsyncIterator[tuple[int, list[Entry]]]:
        """The entries of the blocks `first` to `last`, in order: each time up to which block, and what is new there.

        Raises Unreachable, also where a host shows nothing for all too long.
        """
        ranges, since = 0, time.monotonic()
        while first <= last:
            self._check_patience(ranges, since, first, last)
            end = min(last, first + self._span - 1)
            found = await self._range(first, end)
            ranges += 1
            if found is None:
                continue
            # In a thread: there may be ten thousand entries, and whoever reads has streams to carry meanwhile.
            entries = await asyncio.to_thread(self._entries, found, first, end)
            yield end, entries
            if entries:
                ranges, since = 0, time.monotonic()
            first = end + 1

    def _check_patience(self, ranges: int, since: float, first: int, last: int) -> None:
        """A host may claim any number of blocks, and show nothing in them for ever."""
        limits = self._rpc.limits
        if ranges >= limits.empty_ranges or time.monotonic() - since >= limits.empty_s:
            why = f"shows no entry in {ranges} answers, and is at block {first} of {last}"
            raise self._rpc.unreachable(f"{why}; use a host that answers larger ranges")

    async def _range(self, first: int, end: int) -> list[Any] | None:
        """What the host shows of a range; None if it was too large, and a smaller one is to be tried."""
        asked = {"address": self._rpc.place.contract, "topics": [POSTED], "fromBlock": hex(first), "toBlock": hex(end)}
        try:
            found = await self._rpc.call("eth_getLogs", asked)
        except (Refusal, TooMuch, TooLong) as error:
            self._shrink(end - first + 1, error)
            return None
        if not isinstance(found, list):
            raise self._rpc.unreachable("answered no list to eth_getLogs")
        self._grow()
        return found

    def _shrink(self, asked: int, error: Unreachable) -> None:
        """Hosts complain of too large a range in many words, so any complaint counts; of one block it is final."""
        self._timeouts = self._timeouts + 1 if isinstance(error, TooLong) else 0
        if asked == 1 or self._timeouts >= MOST_TIMEOUTS or (isinstance(error, Refusal) and error.final):
            self._timeouts = 0
            raise error
        self._span, self._good = asked // 2, 0

    def _grow(self) -> None:
        self._good, self._timeouts = self._good + 1, 0
        if self._rpc.answer_bytes > GOOD_BYTES:
            self._span = max(1, self._span // 2)
        elif self._good > PATIENCE:
            self._span = min(MOST_SPAN, self._span * 2)
            self._good = PATIENCE if self._span > FIRST_SPAN else 0

    def _entries(self, found: Iterable[Any], first: int, end: int) -> list[Entry]:
        """The entries that the contract can have made, in the chain's order.

        Where two claim one place, one is false: signatures will tell which, so both are kept.
        """
        entries: dict[Entry, None] = {}
        places: set[tuple[int, int]] = set()
        for log in found:
            try:
                entry = read_entry(log, self._rpc.place.contract)
            except ValueError:
                self.faults += 1
                continue
            place = (entry.block, entry.position)
            within = first <= entry.block <= end
            self.faults += not within or place in places
            if within:
                entries[entry] = None
                places.add(place)
        return _numbered(sorted(entries, key=lambda entry: (entry.block, entry.position)))


def _numbered(entries: Iterable[Entry]) -> list[Entry]:
    counts: Counter[str] = Counter()
    numbered = []
    for entry in entries:
        ordinal = counts[entry.transaction]
        counts[entry.transaction] += 1
        numbered.append(replace(entry, ordinal=ordinal) if ordinal else entry)
    return numbered
