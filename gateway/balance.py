"""Pure: which candidate is asked first. Owns the counts of requests in flight, and all that is known of nodes.

Nodes of explicitly trusted operators come before the rest. Among equals those that have the model warm and a free slot
win, then those that would have to load it, then those that are full; then the least in flight. A node that has just
failed comes last; one that is ill (circuit) or asked to be left alone (rests) is not asked at all.

Not here: what makes a node ill (circuit), what makes it warm (heard), and what one request has tried (search).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from enum import IntEnum
from itertools import count
from typing import TypeVar

from gateway.circuit import Circuits
from gateway.groups import Candidate
from gateway.heard import Heard
from gateway.rests import Rest, Rests
from gateway.retries import Retries
from registry.trust import Believed
from relay.errors import ApiError

_MOST_NODES = 10_000


class _Place(IntEnum):
    """What a request for the model would find at a node."""

    WARM = 0
    COLD = 1
    FULL = 2


class Balance:
    """Counts by node key, and by model. Nothing here waits or looks at a clock.

    Beyond `most_nodes` the one that was asked the longest ago is forgotten: a request may still go to a node, and leave
    something of it here, after all else has forgotten it.
    """

    def __init__(self, most_nodes: int = _MOST_NODES, spread: Callable[[], float] = random.random) -> None:
        self._most_nodes = most_nodes
        self._in_flight: Counter[str] = Counter()
        self._in_flight_of: Counter[tuple[str, str]] = Counter()
        self._heard = Heard()
        self._circuits = Circuits(spread, most_nodes)
        self._rests = Rests(most_nodes)
        self._retries = Retries(most_nodes)
        self._last_turn: dict[str, int] = {}
        self._turns = count(1)

    def __repr__(self) -> str:
        return f"<Balance in_flight={self.in_flight} {self._circuits!r} {self._rests!r}>"

    @property
    def in_flight(self) -> int:
        return self._in_flight.total()

    @property
    def open_circuits(self) -> int:
        return self._circuits.open_count

    def order(self, candidates: Iterable[Candidate], now: float, *, eager: bool = False) -> list[Candidate]:
        """Those that may be asked, best first: not failed just now, explicitly trusted, warm with a free slot before
        cold before full, least in flight, longest not asked, longest advertised so. An `eager` request would be lost
        otherwise: it may go where another one is the probe."""
        given = list(candidates)
        circuits, heard = self._circuits, self._heard
        ill = bool(circuits.nodes)
        if ill or self._rests.nodes:
            given = [c for c in given if self._may_be_asked(c, now, eager)]
        if len(given) < 2:
            return given
        return sorted(
            given,
            key=lambda c: (
                (ill and circuits.is_shaky(c.node, c.offer.model, now)) or heard.is_warm(c, now) is False,
                not c.believed.explicit,
                self._place(c, now),
                self._in_flight[c.node],
                self._last_turn.get(c.node, 0),
                c.believed.advert.seq,
            ),
        )

    def opens_at(self, candidate: Candidate, now: float) -> float:
        """The moment it may be asked, by its circuits and what it said; long ago for one that may be asked now."""
        node, model = candidate.node, candidate.offer.model
        rest = self._rests.of(node, model, now)
        return max(self._circuits.opens_at(node, model, now), rest.until if rest else 0.0)

    def rest(self, candidate: Candidate, now: float) -> Rest | None:
        """What it waits for, where it said to be left alone."""
        return self._rests.of(candidate.node, candidate.offer.model, now)

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

    def probe(self, candidate: Candidate, now: float) -> bool:
        """A request that `order` let go there is sent. Is it one that tries whether an ill node is well again?"""
        circuits = self._circuits
        return bool(circuits.nodes) and circuits.probe(candidate.node, candidate.offer.model, now)

    def abandoned(self, candidate: Candidate, now: float) -> None:
        """The request that was the probe ended, and nobody knows more than before."""
        self._circuits.abandoned(candidate.node, candidate.offer.model, now)

    def take_retry(self, candidate: Candidate, now: float) -> bool:
        """May a request that has failed elsewhere be sent there? It is counted."""
        return self._retries.take(candidate.node, now)

    def failed(self, candidate: Candidate, now: float, *, reached: bool = False) -> None:
        """The node broke the request; `reached`: and said so itself."""
        self._heard.failed(candidate, now)
        if reached:
            self._circuits.reached(candidate.node)
        self._circuits.failed(candidate.node, candidate.offer.model, now)

    def unreachable(self, candidate: Candidate, now: float) -> None:
        """No connection could be made."""
        self._heard.failed(candidate, now)
        self._circuits.unreachable(candidate.node, now)

    def died(self, candidate: Candidate, now: float) -> None:
        """A stream broke that had begun there."""
        self._circuits.died(candidate.node, candidate.offer.model, now)

    def busy(self, candidate: Candidate, error: ApiError, now: float) -> None:
        """The node said when to come back with this model, and is well."""
        self._circuits.answered(candidate.node, candidate.offer.model, now)
        self._rests.busy(candidate.node, candidate.offer.model, error, now)

    def refused(self, candidate: Candidate, now: float) -> None:
        """The node does not take what it should, and is well."""
        self._circuits.answered(candidate.node, candidate.offer.model, now)
        self._rests.refused(candidate.node, candidate.offer.model, now)

    def refused_cold(self, candidate: Candidate, now: float, retry_after_s: float | None) -> None:
        """The node has to load the model first: it is asked last with this one for as long as it asks, within bounds.

        It is no failure, and says nothing of its other models.
        """
        self._circuits.answered(candidate.node, candidate.offer.model, now)
        self._heard.refused_cold(candidate, now, retry_after_s)

    def responded(self, candidate: Candidate, now: float) -> None:
        """The node answered with what is the client's fault."""
        self._circuits.answered(candidate.node, candidate.offer.model, now)

    def reached(self, candidate: Candidate) -> None:
        """The node is there, and that is all there is to say."""
        self._circuits.reached(candidate.node)

    def answered(self, candidate: Candidate, now: float) -> None:
        """The node answered well: its failures are forgotten, and the model is warm there."""
        node, model = candidate.node, candidate.offer.model
        if self._circuits.nodes:
            self._circuits.answered(node, model, now)
        if self._retries.nodes:
            self._retries.answered(node, now)
        self._heard.answered(candidate, now)

    def forget(self, node: str) -> None:
        """That node is gone."""
        self._circuits.forget(node)
        self._rests.forget(node)
        self._retries.forget(node)
        self._last_turn.pop(node, None)
        self._heard.forget(node)

    def to_probe(self, now: float, most: int) -> list[Believed]:
        """Nodes that could not be reached, or that are in use and have been quiet for a while."""
        return self._heard.to_probe(self._circuits.unreachable_nodes(), now, most)

    def probed(self, node: str, since: float, now: float, *, well: bool) -> None:
        """A probe that began at `since` has found the node well, or could not connect."""
        if not self._heard.probed(node, since, now, well=well):
            return
        if well:
            self._circuits.reached(node)
        else:
            self._circuits.unreachable(node, now)

    def _may_be_asked(self, candidate: Candidate, now: float, eager: bool) -> bool:
        node, model = candidate.node, candidate.offer.model
        return self._circuits.lets_in(node, model, now, eager=eager) and self._rests.of(node, model, now) is None

    def _place(self, candidate: Candidate, now: float) -> _Place:
        offer = candidate.offer
        running = self._in_flight_of[candidate.node, offer.model]
        if running >= offer.parallel:
            return _Place.FULL
        if running or self._heard.is_warm(candidate, now):
            return _Place.WARM  # or on its way there: no other node need load it
        return _Place.WARM if offer.warm else _Place.COLD


_K = TypeVar("_K")


def _less(counts: Counter[_K], key: _K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
