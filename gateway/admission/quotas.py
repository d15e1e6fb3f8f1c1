"""What one caller may have: so many requests at once, and so many a minute. A caller is an API key, or an address.

Not here: whose turn it is where nodes are full (line).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from types import TracebackType
from typing import Final, Protocol

from gateway.admission import rates
from gateway.admission.holds import Holds
from gateway.admission.rates import Moments, OwnMoments, Standing
from gateway.keys import ANYBODY, Caller
from relay.errors import ApiError, TooManyRequests

_MOST_RETRY_S = 60


class Elsewhere(Protocol):
    """What other processes of this gateway have in flight, and what they are told of ours."""

    def add(self, who: str, by: int) -> None: ...

    def count(self, who: str) -> int: ...


class Quotas:
    """Owns what callers that have a limit have in flight. `parallel` and `per_minute` are of those that have none of
    their own; 0 is none."""

    def __init__(
        self,
        parallel: int = 0,
        per_minute: int = 0,
        elsewhere: Elsewhere | None = None,
        moments: Moments | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parallel = parallel
        self._per_minute = per_minute
        self._elsewhere = elsewhere
        self._moments: Final[Moments] = OwnMoments() if moments is None else moments
        self._clock = clock
        self._in_flight: dict[str, int] = {}
        self._holds = Holds()

    def __repr__(self) -> str:
        return f"<Quotas in_flight={self.in_flight}>"

    @property
    def in_flight(self) -> int:
        return sum(self._in_flight.values())

    def enter(self, caller: Caller, who: str) -> Held:
        """The context of a request. Raises TooManyRequests, and then nothing is counted."""
        parallel = self._parallel if caller.max_parallel is None else caller.max_parallel
        per_minute = self._per_minute if caller.requests_per_minute is None else caller.requests_per_minute
        if not parallel and not per_minute:
            return _FREE
        now, standing = self._clock(), None
        if parallel:
            self._take(who, parallel, now, caller)
        if per_minute:
            standing = rates.take(self._moments, who, per_minute, now)
            if standing.retry_s:
                if parallel:
                    self._give(who)
                raise _too_often(standing, caller)
        if parallel:
            self._holds.begin(now)
        return _Counted(self, who, bool(parallel), per_minute, now, standing)

    def leave(self, who: str, parallel: bool, per_minute: int, began: float, *, busy: bool) -> None:
        """Its request is over; `busy`: because all nodes are, and so it is not counted."""
        now = self._clock()
        if parallel:
            self._holds.end(began, now, well=not busy)
            self._give(who)
        if per_minute and busy:
            rates.give_back(self._moments, who, per_minute, now)

    def _take(self, who: str, parallel: int, now: float, caller: Caller) -> None:
        """Shown to others before theirs is looked at: so two that come at once may both be refused, but never pass."""
        mine = self._in_flight[who] = self._in_flight.get(who, 0) + 1
        if self._elsewhere is not None:
            self._elsewhere.add(who, 1)
            mine += self._elsewhere.count(who)
        if mine > parallel:
            self._give(who)
            after_s = min(max(1, ceil(self._holds.interval_s(parallel, now))), _MOST_RETRY_S)
            text = f"{_whose(caller)} may have {parallel} requests at once; come back when one has ended."
            raise TooManyRequests(text, code="too_many_parallel", retry_after_s=after_s)

    def _give(self, who: str) -> None:
        left = self._in_flight[who] - 1
        if left:
            self._in_flight[who] = left
        else:
            del self._in_flight[who]
        if self._elsewhere is not None:
            self._elsewhere.add(who, -1)


class Held:
    """The context of one request of a caller without limits. `headers` go onto its answer."""

    __slots__ = ()

    @property
    def headers(self) -> dict[str, str]:
        return {}

    @property
    def lines(self) -> str:
        """The headers as they are written."""
        return ""

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was counted."""


class _Counted(Held):
    __slots__ = ("_counted", "_quotas", "_standing")

    def __init__(
        self, quotas: Quotas, who: str, parallel: bool, per_minute: int, began: float, standing: Standing | None
    ) -> None:
        self._quotas = quotas
        self._counted = who, parallel, per_minute, began
        self._standing = standing

    @property
    def headers(self) -> dict[str, str]:
        return self._standing.headers() if self._standing is not None else {}

    @property
    def lines(self) -> str:
        return "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy = isinstance(error, ApiError) and error.status == 429 and error.code == "busy"
        self._quotas.leave(*self._counted, busy=busy)


_FREE = Held()


def _too_often(standing: Standing, caller: Caller) -> TooManyRequests:
    text = f"{_whose(caller)} may send {standing.limit} requests a minute; come back in {standing.retry_s:.1f} s."
    headers = {**standing.headers(), "retry-after-ms": str(ceil(standing.retry_s * 1000))}
    return TooManyRequests(text, code="rate_limit_exceeded", retry_after_s=ceil(standing.retry_s), headers=headers)


def _whose(caller: Caller) -> str:
    return "One address" if caller is ANYBODY else "This API key"
