"""What a worker knows of registries and nodes: all that it was told, and nothing else.

To requests it is what a follower and a prover are in a gateway of one process. Not here: the telling (feed).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.challenge import Identity, identity
from gateway.directory import Directory
from gateway.hosts import HostState
from gateway.pace import Pace
from gateway.workers.channel import Kind
from gateway.workers.rows import Row
from registry.trust import Change, Curation, Key

__all__ = ["Replica"]


class Replica:
    """`directory` is the newest truth. `ready` is the parent's; `whole`: everything there was has been told once."""

    def __init__(
        self, pins: Mapping[str, str], on_gone: Callable[[str], None], clock: Callable[[], float] = time.time
    ) -> None:
        self.ready = asyncio.Event()
        self.whole = asyncio.Event()
        self._pins = pins
        self._on_gone = on_gone
        self._clock = clock
        self._registries: tuple[HostState, ...] = ()
        self._names: dict[str, float] = {}
        self._proofs: dict[Key, Identity] = {}
        self._proven: Counter[Identity] = Counter()
        self._owned: set[Key] = set()
        self._next: _Next | None = None
        self.directory = self._new_directory(None)

    def __repr__(self) -> str:
        state = "replacing" if self._next is not None else "whole" if self.whole.is_set() else "empty"
        return f"<Replica {state} {self.directory!r} proven={self.proven_count}>"

    @property
    def proven_count(self) -> int:
        return len(self._proven)

    def proven(self, who: Identity) -> bool:
        return who in self._proven

    def registries(self) -> Sequence[HostState]:
        """What is known of each host."""
        return self._registries

    async def take(self, kind: Kind, content: Any) -> bool:
        """One message of the parent's; returns whether it was one for here."""
        match kind:
            case Kind.NAMES:
                self._names.update(content)
            case Kind.CURATION:
                rows = self._next.rows if self._next else {}
                self._next = _Next(Curation(content["models"], content["slugs"], frozenset(), frozenset()), rows)
            case Kind.CHANGES:
                await self._change(content)
            case Kind.WHOLE:
                await self._replace()
                self.whole.set()
            case Kind.STATE:
                self._registries = tuple(HostState(**host) for host in content["registries"])
                if content["ready"]:
                    self.ready.set()
            case _:
                return False
        return True

    async def _change(self, written: Sequence[Sequence[Any]]) -> None:
        pace = Pace()
        for each in written:
            row = Row.read(each)
            if self._next is not None:
                self._next.rows[row.key] = row
            if self._next is None or row.believed is None:  # who is gone is gone at once
                self.directory.apply(Change(row.key, row.believed), self._clock())
                self._stand(row)
            await pace.step()

    async def _replace(self) -> None:
        """Another directory in the place of the one in force, made beside it."""
        if self._next is None:
            return
        change, self._next, before, pace, now = self._next, None, self.directory, Pace(), self._clock()
        after = self._new_directory(change.curation)
        for key in before.all_keys():
            if key not in change.rows:
                after.apply(Change(key, before.get(key)), now)
                await pace.step()
        for key, row in change.rows.items():
            after.apply(Change(key, row.believed), now)
            await pace.step()
        for _ in after.names.inherit(before.names, now):
            await pace.step()
        self.directory = after
        for row in change.rows.values():
            if row.believed is not None:
                self._stand(row)
            await pace.step()

    def _new_directory(self, curation: Curation | None) -> Directory:
        names, self._names = self._names, {}
        return Directory(
            (), curation, self._pins, names, lambda one: self._owns((one.advert.operator, one.advert.node))
        )

    def _owns(self, key: Key) -> bool:
        return key in self._owned and key in self._proofs

    def _stand(self, row: Row) -> None:
        """What follows from a row beside the directory."""
        if (before := self._proofs.pop(row.key, None)) is not None:
            self._proven[before] -= 1
            if not self._proven[before]:
                del self._proven[before]
        self._owned.discard(row.key)
        if row.believed is None:
            if not self.directory.lists(row.key[1]):
                self._on_gone(row.key[1])
            return
        if row.proven:
            who = self._proofs[row.key] = identity(row.believed.advert)
            self._proven[who] += 1
        if row.owned:
            self._owned.add(row.key)


class _Next:
    """Curators say something else: what is to come into force, all at once."""

    def __init__(self, curation: Curation, rows: dict[Key, Row]) -> None:
        self.curation = curation
        self.rows = rows
