"""What bench.balance measures beside the gateway's own way to choose a node: each a Balance that ranks otherwise.

They differ in nothing else: who is ill, who is cold and who is full is for all of them as the gateway has it, but for
`round-robin` and `random`, which look at none of it. Not here: the product's own way (gateway.balance).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gateway.affinity import Topic, leaning
from gateway.balance import Balance, Rank
from gateway.groups import Candidate


class RoundRobin(Balance):
    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        return lambda c: (0, False, 0.0, self._loads.last_turn(c.node), 0)


class Random(Balance):
    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        return lambda c: (0, False, random.random(), 0, 0)


class LeastInFlight(Balance):
    """What the gateway did before: no slots, no conversations."""

    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        loads = self._loads
        return lambda c: (self._place(c, now), False, loads.of_node(c.node), loads.last_turn(c.node), 0)


class LeastForSlots(Balance):
    """The gateway's own but for conversations."""

    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        return super().rank(given, now, None)


class KnownBeginning(Balance):
    """A conversation is known by all up to its first question; its node is remembered as the gateway does."""

    def topic_of(self, call: object) -> Topic | None:
        topic = super().topic_of(call)
        return None if topic is None else replace(topic, now=topic.beginning, before=None)


class HashedBeginning(KnownBeginning):
    """The same without a memory: its node is the first by rendezvous hashing that is not crowded."""

    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        if topic is None:
            return super().rank(given, now, None)
        crowded = {c.node: self._is_crowded(c, given) for c in given}
        return lambda c: (self._place(c, now), crowded[c.node], leaning(topic, c.node), 0, 0)


class KnownOnly(Balance):
    """The gateway's own, but that a conversation which is not known goes in turns: processes do not agree."""

    def rank(self, given: Sequence[Candidate], now: float, topic: Topic | None) -> Callable[[Candidate], Rank]:
        own, loads = super().rank(given, now, topic), self._loads
        return lambda c: (*own(c)[:3], loads.last_turn(c.node), 0)


OWN = "known-question"
POLICIES: Mapping[str, type[Balance]] = {
    "round-robin": RoundRobin,
    "random": Random,
    "least-in-flight": LeastInFlight,
    "least-for-slots": LeastForSlots,
    "hashed-beginning": HashedBeginning,
    "known-beginning": KnownBeginning,
    OWN: Balance,
}
