"""A policy that bench.balance_model tries, and no gateway has: nodes are weighted by how long they hold a request.

That is learned by Little's law, without a note of any single request: what is in flight, over time, by what has ended.
Not here: the other policies (balance_policies).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.balance_policies import KnownOnly
from gateway.affinity import Topic
from gateway.balance import Rank
from gateway.groups import Candidate

_MEMORY_S = 60.0
_PRIOR = 4.0  # requests of the average kind, which a node is taken to have had before its first


@dataclass
class _Past:
    """Both fade. `area` is in requests times seconds, as of `at`."""

    area: float
    ended: float
    at: float


class LearnedSpeed(KnownOnly):
    """`now` is the clock of the moment."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._past: dict[tuple[str, str], _Past] = {}

    def begin(self, node: str, model: str, topic: Topic | None = None) -> None:
        self._faded(node, model)
        super().begin(node, model, topic)

    def end(self, node: str, model: str) -> None:
        self._faded(node, model).ended += 1
        super().end(node, model)

    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        own, held = super().rank(given, now, topic), self._held(given)

        def weighted(candidate: Candidate) -> Rank:
            place, other, load, turn, seq = own(candidate)
            return place, other, load * held[candidate.node], turn, seq

        return weighted

    def _held(self, given: Sequence[Candidate]) -> dict[str, float]:
        """How long each holds a request, beside the average."""
        pasts = [self._faded(c.node, c.offer.model) for c in given]
        ended = sum(past.ended for past in pasts)
        mean = sum(past.area for past in pasts) / ended if ended else 0.0
        if not mean:
            return dict.fromkeys((c.node for c in given), 1.0)
        each = zip(given, pasts, strict=True)
        return {c.node: (past.area / mean + _PRIOR) / (past.ended + _PRIOR) for c, past in each}

    def _faded(self, node: str, model: str) -> _Past:
        now = self._now()
        past = self._past.setdefault((node, model), _Past(0.0, 0.0, now))
        span = now - past.at
        fade = math.exp(-span / _MEMORY_S)
        past.area = past.area * fade + self.in_flight_of(node, model) * span
        past.ended, past.at = past.ended * fade, now
        return past
