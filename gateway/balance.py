"""Pure: which candidate is asked first. Owns the counts of requests in flight and the cool-downs of failed nodes.

Least in flight wins among nodes of explicitly trusted operators, then among the rest; a node that has just failed
comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count

from gateway.groups import Candidate

_COOL_FIRST_S = 1.0
_COOL_MOST_S = 30.0


class Balance:
    """Counts by node key. Nothing here waits or looks at a clock."""

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._cool_until: dict[str, float] = {}
        self._last_turn: dict[str, int] = {}
        self._turns = count(1)

    def __repr__(self) -> str:
        return f"<Balance in_flight={self.in_flight} cooling={len(self._cool_until)}>"

    @property
    def in_flight(self) -> int:
        return self._in_flight.total()

    def order(self, candidates: Iterable[Candidate], now: float) -> list[Candidate]:
        """Best first: not cooling, explicitly trusted, least in flight, longest not asked, longest advertised so."""
        return sorted(
            candidates,
            key=lambda c: (
                self._cool_until.get(c.node, 0.0) > now,
                not c.believed.explicit,
                self._in_flight[c.node],
                self._last_turn.get(c.node, 0),
                c.believed.advert.seq,
            ),
        )

    @contextmanager
    def carrying(self, node: str) -> Iterator[None]:
        """One request is in flight to this node for as long as the context lasts."""
        self._last_turn[node] = next(self._turns)
        self._in_flight[node] += 1
        try:
            yield
        finally:
            self._in_flight[node] -= 1
            if not self._in_flight[node]:
                del self._in_flight[node]

    def failed(self, node: str, now: float, retry_after_s: float | None = None) -> None:
        """The node did not answer: let it cool, longer each time."""
        wait = min(_COOL_FIRST_S * 2 ** self._failures[node], _COOL_MOST_S)
        self._failures[node] = min(self._failures[node] + 1, 16)
        self._cool_until[node] = now + max(wait, min(retry_after_s or 0.0, _COOL_MOST_S))

    def answered(self, node: str) -> None:
        """The node answered: all is forgotten."""
        self._failures.pop(node, None)
        self._cool_until.pop(node, None)

    def forget(self, node: str) -> None:
        """That node is gone."""
        self._failures.pop(node, None)
        self._cool_until.pop(node, None)
        self._last_turn.pop(node, None)
