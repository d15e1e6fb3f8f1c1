"""Pure: who is so ill that a request sent there would be lost time, and when one may try again.

A circuit stands for one model of a node; one more, for the node as a whole, opens where no connection can be made. Open
it lets nobody through; once its time is over, one request at a time is the probe that closes it, or opens it for
longer. Not here: waiting, and who is merely busy (rests).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

_STREAK = 3  # failures with no answer between them
_DEATHS = 2  # streams that died, within:
_DEATHS_S = 60.0
_FIRST_S = 1.0
_MOST_S = 30.0
_SPREAD = 0.25  # of the time that a circuit is open, so that many gateways do not come back together
_SHAKY_S = 1.0
_PROBE_S = 30.0  # a probe that takes longer holds up no other
_MOST_NODES = 10_000
_WHOLE = None  # in the place of a model: the node itself


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"  # a probe is on its way


@dataclass
class Circuit:
    """`until`: open, the moment a probe may go; half-open, the moment another one may."""

    state: State = State.CLOSED
    until: float = 0.0
    shaky_until: float = 0.0
    streak: int = 0
    openings: int = 0
    deaths: list[float] = field(default_factory=list)

    def lets_in(self, now: float, eager: bool) -> bool:
        return self.state is State.CLOSED or self.until <= now or (eager and self.state is State.HALF_OPEN)

    def is_shaky(self, now: float) -> bool:
        return self.shaky_until > now or self.state is State.HALF_OPEN

    def open(self, now: float, spread: float) -> None:
        """From closed, or after a probe that failed; a failure that was under way before changes nothing."""
        if self.state is State.OPEN:
            return
        span: float = min(_FIRST_S * 2**self.openings, _MOST_S)
        self.openings = min(self.openings + 1, 16)
        self.state, self.until = State.OPEN, now + span * (1 + _SPREAD * spread)


class Circuits:
    """Keeps only those of nodes that failed lately: `nodes` is empty where all is well. Looks at no clock.

    `spread` gives a number from 0 to 1. Beyond `most_nodes` the one that fell ill the longest ago is forgotten.
    """

    def __init__(self, spread: Callable[[], float] = random.random, most_nodes: int = _MOST_NODES) -> None:
        self.nodes: dict[str, dict[str | None, Circuit]] = {}
        self._spread = spread
        self._most_nodes = most_nodes

    def __repr__(self) -> str:
        return f"<Circuits open={self.open_count} nodes={len(self.nodes)}>"

    @property
    def open_count(self) -> int:
        """Circuits that are open or half-open."""
        return sum(each.state is not State.CLOSED for known in self.nodes.values() for each in known.values())

    def lets_in(self, node: str, model: str, now: float, *, eager: bool = False) -> bool:
        """May a request for the model be sent there now? If it is, `probe` comes next. An `eager` one, that has
        nowhere else to go, may be sent beside a probe."""
        return all(circuit.lets_in(now, eager) for circuit in self._both(node, model))

    def is_shaky(self, node: str, model: str, now: float) -> bool:
        """Has it failed just now, and not often enough to be left alone? Or is a probe on its way there?"""
        return any(circuit.is_shaky(now) for circuit in self._both(node, model))

    def opens_at(self, node: str, model: str, now: float) -> float:
        """The moment a request may try, if the probe that is on its way does not fail; long ago for a closed one."""
        opens = {State.CLOSED: 0.0, State.HALF_OPEN: now}
        return max((opens.get(circuit.state, circuit.until) for circuit in self._both(node, model)), default=0.0)

    def probe(self, node: str, model: str, now: float) -> bool:
        """A request that was let in is sent. Returns whether it is a probe: then it owes a verdict, or `abandoned`."""
        probing = False
        for circuit in self._both(node, model):
            if circuit.state is not State.CLOSED and circuit.until <= now:
                circuit.state, circuit.until, probing = State.HALF_OPEN, now + _PROBE_S, True
        return probing

    def abandoned(self, node: str, model: str, now: float) -> None:
        """The probe ended without a verdict: its client left, say. The next request is one."""
        for circuit in self._both(node, model):
            if circuit.state is State.HALF_OPEN:
                circuit.state, circuit.until = State.OPEN, now

    def answered(self, node: str, model: str, now: float) -> None:
        """It answered. What begins well may still die: lately dead streams are remembered."""
        known = self.nodes.get(node)
        if known is None:
            return
        known.pop(_WHOLE, None)
        circuit = known.get(model)
        if circuit is not None:
            circuit.deaths = _recent(circuit.deaths, now)
            if not circuit.deaths:
                del known[model]
            elif circuit.state is not State.OPEN:  # else that request was sent before
                circuit.state, circuit.streak, circuit.shaky_until = State.CLOSED, 0, 0.0
        if not known:
            del self.nodes[node]

    def reached(self, node: str) -> None:
        """The node is there, whatever it says of its models."""
        known = self.nodes.get(node)
        if known is not None:
            known.pop(_WHOLE, None)
            if not known:
                del self.nodes[node]

    def failed(self, node: str, model: str, now: float) -> None:
        """The node broke the request, or was silent."""
        circuit = self._circuit(node, model)
        circuit.streak += 1
        if circuit.state is State.HALF_OPEN or circuit.streak >= _STREAK:
            circuit.open(now, self._spread())
        else:
            circuit.shaky_until = now + _SHAKY_S
        whole = self.nodes[node].get(_WHOLE)
        if whole is not None and whole.state is State.HALF_OPEN:
            whole.open(now, self._spread())

    def unreachable(self, node: str, now: float) -> None:
        """No connection could be made: so for all its models."""
        self._circuit(node, _WHOLE).open(now, self._spread())

    def died(self, node: str, model: str, now: float) -> None:
        """A stream of the model broke after it had begun there."""
        circuit = self._circuit(node, model)
        circuit.deaths = [*_recent(circuit.deaths, now), now][-_DEATHS:]
        if len(circuit.deaths) >= _DEATHS:
            circuit.open(now, self._spread())
        else:
            circuit.shaky_until = now + _SHAKY_S

    def unreachable_nodes(self) -> Iterator[str]:
        """Those to which no connection could be made when it was last tried."""
        return (node for node, known in self.nodes.items() if _WHOLE in known)

    def forget(self, node: str) -> None:
        """That node is gone."""
        self.nodes.pop(node, None)

    def _both(self, node: str, model: str) -> list[Circuit]:
        known = self.nodes.get(node)
        return [known[key] for key in (_WHOLE, model) if key in known] if known else []

    def _circuit(self, node: str, model: str | None) -> Circuit:
        known = self.nodes.get(node)
        if known is None:
            known = self.nodes[node] = {}
            if len(self.nodes) > self._most_nodes:
                del self.nodes[next(iter(self.nodes))]
        circuit = known.get(model)
        if circuit is None:
            circuit = known[model] = Circuit()
        return circuit


def _recent(deaths: list[float], now: float) -> list[float]:
    return [at for at in deaths if at > now - _DEATHS_S]
