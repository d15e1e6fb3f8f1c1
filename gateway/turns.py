"""Whose turn it is to be challenged: fairly by host, within each host's budget, who never failed before who did.

Pure bookkeeping that costs what it gives out, however many wait. Not here: asking (challenge).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

BURST = 128  # challenges of one host, in a row
REFILL_S = 1.0  # then one every so often
_HOSTS_KEPT = 10_000

_Who = TypeVar("_Who")


class Turns(Generic[_Who]):
    """One queue. Whoever was added and is no longer `wanted` when its turn comes is passed over, at no cost."""

    def __init__(self, wanted: Callable[[_Who], bool], clock: Callable[[], float]) -> None:
        self._wanted = wanted
        self._clock = clock
        self._budget = HostBudget(clock)
        self._number = count()
        self._later: list[tuple[float, int, int, str, _Who]] = []
        self._waiting: dict[str, list[tuple[int, int, _Who]]] = {}  # by host
        self._hosts: deque[str] = deque()  # of those that wait, the ones which may be asked
        self._spent: list[tuple[float, str]] = []  # and the others, with when to look again

    def __repr__(self) -> str:
        return f"<Turns later={len(self._later)} waiting={sum(map(len, self._waiting.values()))}>"

    def add(self, who: _Who, host: str, failures: int, at: float) -> None:
        """`who` may be asked from that moment on."""
        heapq.heappush(self._later, (at, next(self._number), failures, host, who))

    def take(self) -> _Who | None:
        """The next one to ask now, None if there is none."""
        self._wake(self._clock())
        while self._hosts:
            host = self._hosts.popleft()
            waiting = self._waiting[host]
            while waiting and not self._wanted(waiting[0][2]):
                heapq.heappop(waiting)
            if not waiting:
                del self._waiting[host]
            elif self._budget.take(host):
                self._hosts.append(host)
                return heapq.heappop(waiting)[2]
            else:
                heapq.heappush(self._spent, (self._clock() + REFILL_S, host))
        return None

    def _wake(self, now: float) -> None:
        while self._spent and self._spent[0][0] <= now:
            self._hosts.append(heapq.heappop(self._spent)[1])
        while self._later and self._later[0][0] <= now:
            _, number, failures, host, who = heapq.heappop(self._later)
            if host not in self._waiting:
                self._waiting[host] = []
                self._hosts.append(host)
            heapq.heappush(self._waiting[host], (failures, number, who))


class HostBudget:
    """A bounded number of challenges a host: a burst, then one every few seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, host: str) -> bool:
        """Whether one more challenge to this host may be made now."""
        now = self._clock()
        left, since = self._buckets.pop(host, (float(BURST), now))
        left = min(BURST, left + (now - since) / REFILL_S)
        allowed = left >= 1
        self._buckets[host] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _HOSTS_KEPT:
            del self._buckets[next(iter(self._buckets))]
        return allowed
