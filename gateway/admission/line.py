"""Pure: who waits for one model, and whose turn it is. Max-min fair between callers.

The caller with the least in flight comes first, of several one that has a promise, and then the one that has waited the
longest: since its oldest request came, or since its last turn, so that a hundred requests of one caller buy it no more
turns than one. Not here: waiting (admission), which nodes have room (balance), and how long a turn takes (holds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from heapq import nsmallest
from typing import Generic, Protocol, TypeVar

from gateway.admission.holds import Holds


class Rank(IntEnum):
    """Who goes before whom; promises only among those that have as much in flight."""

    RESUMING = 0  # its client has seen the beginning
    PROMISED = 1  # it was sent away, and came back when it was told to
    USUAL = 2


class Waiter(Protocol):
    """One request that waits. `since` is when it came; `renewals`, how often it was looked where it may go by now."""

    caller: str
    rank: Rank
    since: float
    renewals: int


_W = TypeVar("_W", bound=Waiter)
_Turn = tuple[bool, int, Rank, float]


class _Group(Generic[_W]):
    """One caller's of one rank. `since`: it has waited for a turn since then."""

    __slots__ = ("since", "waiters")

    def __init__(self, since: float) -> None:
        self.since = since
        self.waiters: dict[_W, None] = {}  # oldest first


class Line(Generic[_W]):
    """Owns who waits, and the counts of what is in flight by caller. Looks at no clock."""

    def __init__(self) -> None:
        self.holds = Holds()
        self.waiting = 0
        self._in_flight: dict[str, int] = {}
        self._groups: tuple[dict[str, _Group[_W]], ...] = tuple({} for _ in Rank)

    def __repr__(self) -> str:
        return f"<Line in_flight={self.holds.running} waiting={self.waiting}>"

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.holds.running

    def begin(self, caller: str, now: float) -> None:
        """A request of that caller is sent; `end` follows."""
        in_flight = self._in_flight
        in_flight[caller] = in_flight.get(caller, 0) + 1
        self.holds.begin(now)

    def end(self, caller: str, began: float, now: float, *, well: bool) -> None:
        """It is over. `well`: it was answered, so that the time it took says something."""
        left = self._in_flight[caller] - 1
        if left:
            self._in_flight[caller] = left
        else:
            del self._in_flight[caller]
        self.holds.end(began, now, well=well)

    def join(self, waiter: _W) -> None:
        """One more waits."""
        groups = self._groups[waiter.rank]
        group = groups.get(waiter.caller)
        if group is None:
            group = groups[waiter.caller] = _Group(waiter.since)
        group.waiters[waiter] = None
        self.waiting += 1

    def leave(self, waiter: _W, served_at: float | None = None) -> None:
        """It waits no longer; with its turn, where it was served. Nothing happens where it does not wait here."""
        group = self._groups[waiter.rank].get(waiter.caller)
        if group is None or waiter not in group.waiters:
            return
        del group.waiters[waiter]
        self.waiting -= 1
        if not group.waiters:
            del self._groups[waiter.rank][waiter.caller]
        else:
            group.since = max(group.since, next(iter(group.waiters)).since)
        if served_at is not None:
            for groups in self._groups:
                if (own := groups.get(waiter.caller)) is not None:
                    own.since = max(own.since, served_at)

    def next(self, fits: Callable[[_W], bool]) -> _W | None:
        """Whose turn it is, of those that fit. A promise counts among callers that have as much in flight."""
        best: _Turn | None = None
        found = None
        for turn, group in self._turns():
            if best is not None and turn >= best:
                continue
            waiter = next((each for each in group.waiters if fits(each)), None)
            if waiter is not None:
                best, found = turn, waiter
        return found

    def heads(self, fits: Callable[[_W], bool], most: int) -> list[_W]:
        """Those to renew, of those that fit: the least renewed, and of these the first in turn. One of each caller and
        rank, and so many at most."""
        firsts = ((turn, next(filter(fits, group.waiters), None)) for turn, group in self._turns())
        found = ((waiter.renewals, turn, waiter) for turn, waiter in firsts if waiter is not None)
        return [waiter for *_, waiter in nsmallest(most, found, key=lambda each: each[:2])]

    def everybody(self) -> Iterator[_W]:
        """All that wait, by rank."""
        return (waiter for groups in self._groups for group in groups.values() for waiter in group.waiters)

    def to_evict(self, caller: str) -> _W | None:
        """Who makes room for a request of that caller: the newest of who has the most waiting. None: it is itself."""
        usual = self._groups[Rank.USUAL]
        most = max(usual.values(), key=lambda group: len(group.waiters), default=None)
        own = usual.get(caller)
        if most is None or len(most.waiters) <= (len(own.waiters) if own else 0) + 1:
            return None
        return next(reversed(most.waiters))

    def ahead_of(self, caller: str, further: int) -> int:
        """How many turns come before that of one more request of that caller, which has `further` ones elsewhere.

        Whoever waits now has as many as this caller by then: most ask again as soon as they are answered.
        """
        own = further + sum(len(groups[caller].waiters) for groups in self._groups if caller in groups)
        turns = own + self._in_flight.get(caller, 0) + 1
        others = {each for groups in self._groups for each in groups if each != caller}
        return own + turns * len(others)

    def _turns(self) -> Iterator[tuple[_Turn, _Group[_W]]]:
        """All groups, each with what decides whose turn it is: the least comes first."""
        for rank, groups in zip(Rank, self._groups, strict=True):
            for caller, group in groups.items():
                yield (rank is not Rank.RESUMING, self._in_flight.get(caller, 0), rank, group.since), group
