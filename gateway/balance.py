"""Pure: which candidate is asked first. Owns all that is known of nodes.

Nodes of explicitly trusted operators come before the rest. Among equals those that have the model warm and a free slot
win, then those that would have to load it, then those that are full. Then a conversation goes where it was, unless that
node is crowded, and anything else where the least is in flight for each slot. A node that has just failed comes last;
one that is ill (circuit) or asked to be left alone (rests) is not asked at all.

Not here: what makes a node ill (circuit), what makes it warm (heard), what a conversation is (affinity), and what one
request has tried (search).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum

from gateway.affinity import Homes, Topic, leaning, topic_of
from gateway.circuit import Circuits
from gateway.groups import Candidate
from gateway.heard import Heard
from gateway.loads import Loads, room
from gateway.rests import Rest, Rests
from gateway.retries import Retries
from registry.trust import Believed
from relay.errors import ApiError

_MOST_NODES = 10_000
Rank = tuple[int, bool, float, int, int]
_CROWDED = 1.25  # times a node's share of all that is in flight; and one request more


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
        self._loads = Loads()
        self._homes = Homes()
        self._heard = Heard()
        self._circuits = Circuits(spread, most_nodes)
        self._rests = Rests(most_nodes)
        self._retries = Retries(most_nodes)

    def __repr__(self) -> str:
        return f"<Balance in_flight={self.in_flight} {self._circuits!r} {self._rests!r}>"

    @property
    def in_flight(self) -> int:
        return self._loads.total

    @property
    def open_circuits(self) -> int:
        return self._circuits.open_count

    def topic_of(self, call: object) -> Topic | None:
        """By what a request is known as part of a conversation, if it is: for `order` and `begin`."""
        return topic_of(call)

    def order(
        self, candidates: Iterable[Candidate], now: float, *, eager: bool = False, topic: Topic | None = None
    ) -> list[Candidate]:
        """Those that may be asked, best first: not failed just now, explicitly trusted, and then by `rank`. An `eager`
        request would be lost otherwise: it may go where another one is the probe. `topic` is of its conversation."""
        given = list(candidates)
        circuits, heard = self._circuits, self._heard
        ill = bool(circuits.nodes)
        if ill or self._rests.nodes:
            given = [c for c in given if self._may_be_asked(c, now, eager)]
        if len(given) < 2:
            return given
        rank = self.rank(given, now, topic)
        return sorted(
            given,
            key=lambda c: (
                (ill and circuits.is_shaky(c.node, c.offer.model, now)) or heard.is_warm(c, now) is False,
                not c.believed.explicit,
                rank(c),
            ),
        )

    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        """Among those that are well and trusted alike: warm with a free slot before cold before full, where the
        conversation was, least in flight for each slot, where its like begin or else longest not asked, longest
        advertised so."""
        loads, home = self._loads, self._home(given, topic)

        def of(candidate: Candidate) -> Rank:
            advert, slots = candidate.believed.advert, candidate.offer.parallel
            node = advert.node
            turn = loads.last_turn(node) if topic is None else leaning(topic, node)
            return self._place(candidate, now), node != home, (loads.of_node(node) + 1) / slots, turn, advert.seq

        return of

    def opens_at(self, candidate: Candidate, now: float) -> float:
        """The moment it may be asked, by its circuits and what it said; long ago for one that may be asked now."""
        node, model = candidate.node, candidate.offer.model
        rest = self.rest(candidate, now)
        return max(self._circuits.opens_at(node, model, now), rest.until if rest else 0.0)

    def rest(self, candidate: Candidate, now: float) -> Rest | None:
        """What it waits for, where it said to be left alone."""
        if not self._rests.nodes:
            return None
        advert = candidate.believed.advert
        return self._rests.of(advert.node, candidate.offer.model, now, advert.seq)

    def in_flight_of(self, node: str, model: str) -> int:
        """Requests for that model which are with the node now."""
        return self._loads.of(node, model)

    def has_room(self, candidate: Candidate, now: float) -> bool:
        """Would a request begin there soon? Whether it may be asked at all is not looked at."""
        node, model, loads = candidate.node, candidate.offer.model, self._loads
        return loads.of(node, model) < room(candidate.offer.parallel) and not loads.is_full(node, model, now)

    def loaded(self, candidate: Candidate, running: int, slots: int, waiting: int, now: float) -> None:
        """The node's answer said so, of that model and all who ask for it."""
        self._loads.said(candidate.node, candidate.offer.model, waiting if running >= slots else 0, now)

    def begin(self, node: str, model: str, topic: Topic | None = None) -> None:
        """A request is sent there; `end` follows. Its conversation goes on there."""
        self._loads.begin(node, model)
        if topic is not None:
            self._homes.settle(model, topic, node)
        if (oldest := self._loads.beyond(self._most_nodes)) is not None:
            self.forget(oldest)

    def end(self, node: str, model: str) -> None:
        """It is there no longer."""
        self._loads.end(node, model)

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
        self._rests.busy(candidate.node, candidate.offer.model, error, now, candidate.believed.advert.seq)

    def refused(self, candidate: Candidate, now: float) -> None:
        """The node does not take what it should, and is well."""
        self._circuits.answered(candidate.node, candidate.offer.model, now)
        self._rests.refused(candidate.node, candidate.offer.model, now, candidate.believed.advert.seq)

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
        self._loads.forget(node)
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
        return self._circuits.lets_in(node, model, now, eager=eager) and self.rest(candidate, now) is None

    def _place(self, candidate: Candidate, now: float) -> _Place:
        offer = candidate.offer
        running = self._loads.of(candidate.node, offer.model)
        if running >= offer.parallel or self._loads.is_full(candidate.node, offer.model, now):
            return _Place.FULL
        if running or self._heard.is_warm(candidate, now):
            return _Place.WARM  # or on its way there: no other node need load it
        return _Place.WARM if offer.warm else _Place.COLD

    def _home(self, given: Sequence[Candidate], topic: Topic | None) -> str | None:
        """Where the conversation was, if that is one of these and not crowded."""
        if topic is None:
            return None
        node = self._homes.of(given[0].offer.model, topic)
        home = next((c for c in given if c.node == node), None)
        if home is None:
            return None
        return None if self._is_crowded(home, given) else node

    def _is_crowded(self, candidate: Candidate, given: Sequence[Candidate]) -> bool:
        """Would it, without a free slot, have more than its share of what all of these have in flight, by a bound?"""
        model, slots = candidate.offer.model, candidate.offer.parallel
        own = self._loads.of(candidate.node, model) + 1
        if own <= slots:
            return False
        running = sum(self._loads.of(c.node, model) for c in given) + 1
        return own > _CROWDED * running * slots / sum(c.offer.parallel for c in given) + 1
