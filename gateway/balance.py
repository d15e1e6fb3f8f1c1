"""Pure: which candidate is asked first. Owns the counts of requests in flight and the cool-downs of failed nodes.

Nodes of explicitly trusted operators come before the rest. Among equals those that have the model warm and a free slot
win, then those that would have to load it, then those that are full; then the least in flight. A node that has just
failed comes last.

Whether a model is warm an advert says, as much as a minute late, or hours where posting costs money. So what a node has
just shown counts for more, until that is old or the node says something newer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import TypeVar

from gateway.groups import Candidate

_COOL_FIRST_S = 1.0
_COOL_MOST_S = 30.0
_MOST_NODES = 10_000
_SHOWN_S = 60.0  # a node's own advert says by then what its answer has shown


class _Place(IntEnum):
    """What a request for the model would find at a node."""

    WARM = 0
    COLD = 1
    FULL = 2


@dataclass
class _Shown:
    """What a node has shown of its models since it signed the advert of this `seq`: warm or not, and until when."""

    seq: int
    models: dict[str, tuple[bool, float]] = field(default_factory=dict)


class Balance:
    """Counts by node key, and by model. Nothing here waits or looks at a clock.

    Beyond `most_nodes` the one that was asked the longest ago is forgotten: a request may still go to a node, and leave
    something of it here, after all else has forgotten it.
    """

    def __init__(self, most_nodes: int = _MOST_NODES) -> None:
        self._most_nodes = most_nodes
        self._in_flight: Counter[str] = Counter()
        self._in_flight_of: Counter[tuple[str, str]] = Counter()
        self._shown: dict[str, _Shown] = {}
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
        """Best first: not cooling, explicitly trusted, warm with a free slot before cold before full, least in flight,
        longest not asked, longest advertised so."""
        given = list(candidates)
        if len(given) < 2:
            return given
        return sorted(
            given,
            key=lambda c: (
                self._cool_until.get(c.node, 0.0) > now or self._showed(c, now) is False,
                not c.believed.explicit,
                self._place(c, now),
                self._in_flight[c.node],
                self._last_turn.get(c.node, 0),
                c.believed.advert.seq,
            ),
        )

    def begin(self, node: str, model: str) -> None:
        """A request is sent there; `end` follows."""
        self._last_turn.pop(node, None)
        self._last_turn[node] = next(self._turns)
        if len(self._last_turn) > self._most_nodes:
            self.forget(next(iter(self._last_turn)))
        self._in_flight[node] += 1
        self._in_flight_of[node, model] += 1

    def end(self, node: str, model: str) -> None:
        """It is there no longer."""
        _less(self._in_flight, node)
        _less(self._in_flight_of, (node, model))

    def failed(self, node: str, now: float, retry_after_s: float | None = None) -> None:
        """The node did not answer: let it cool, longer each time."""
        wait = min(_COOL_FIRST_S * 2 ** self._failures[node], _COOL_MOST_S)
        self._failures[node] = min(self._failures[node] + 1, 16)
        self._cool_until[node] = now + max(wait, min(retry_after_s or 0.0, _COOL_MOST_S))

    def refused_cold(self, candidate: Candidate, now: float, retry_after_s: float | None) -> None:
        """The node has to load the model first: it is left alone with this one for as long as it asks, within bounds.

        It is no failure, and says nothing of its other models.
        """
        wait = max(_COOL_FIRST_S, min(retry_after_s or 0.0, _COOL_MOST_S))
        self._show(candidate, warm=False, until=now + wait)

    def answered(self, candidate: Candidate, now: float) -> None:
        """The node answered: its failures are forgotten, and the model is warm there."""
        self._failures.pop(candidate.node, None)
        self._cool_until.pop(candidate.node, None)
        self._show(candidate, warm=True, until=now + _SHOWN_S)

    def forget(self, node: str) -> None:
        """That node is gone."""
        self._failures.pop(node, None)
        self._cool_until.pop(node, None)
        self._last_turn.pop(node, None)
        self._shown.pop(node, None)

    def _place(self, candidate: Candidate, now: float) -> _Place:
        offer = candidate.offer
        running = self._in_flight_of[candidate.node, offer.model]
        if running >= offer.parallel:
            return _Place.FULL
        if running or self._showed(candidate, now):
            return _Place.WARM  # or on its way there: no other node need load it
        return _Place.WARM if offer.warm else _Place.COLD

    def _showed(self, candidate: Candidate, now: float) -> bool | None:
        """Was the model warm when the node was last asked? None: nothing is known beyond its advert."""
        shown = self._shown.get(candidate.node)
        if shown is None or shown.seq != candidate.believed.advert.seq:
            return None
        warm, until = shown.models.get(candidate.offer.model, (False, 0.0))
        return warm if until > now else None

    def _show(self, candidate: Candidate, *, warm: bool, until: float) -> None:
        seq = candidate.believed.advert.seq
        shown = self._shown.get(candidate.node)
        if shown is None or shown.seq != seq:
            shown = self._shown[candidate.node] = _Shown(seq)
        shown.models[candidate.offer.model] = (warm, until)


_K = TypeVar("_K")


def _less(counts: Counter[_K], key: _K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
