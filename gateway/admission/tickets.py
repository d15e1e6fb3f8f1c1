"""A request that waits, and the place that it has when it waits no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from gateway.admission.line import Line, Rank
from gateway.affinity import Topic
from gateway.groups import Candidate

Spot = tuple[str, str]  # a node, and one of its models
Spots = Mapping[Spot, tuple[Candidate, float]]  # with the moment from which on that is wanted


class Place:
    """A request that is with a node, or on its way there: counted until `Admission.end`. `probing`: it is the probe."""

    __slots__ = ("began", "caller", "candidate", "line", "probing")

    def __init__(self, candidate: Candidate, caller: str, line: Line[Ticket], began: float, probing: bool) -> None:
        self.candidate = candidate
        self.caller = caller
        self.line = line
        self.began = began
        self.probing = probing

    def __repr__(self) -> str:
        return f"<Place at {self.candidate.node} of {self.caller}{' probing' if self.probing else ''}>"


@dataclass(eq=False, slots=True)
class Ticket:
    """`spots` is where the request may be sent, as `renew` gives it anew; `accepts` is asked last, and spends what a
    retry costs. `evicted`: it had to make room for somebody else's."""

    caller: str
    rank: Rank
    since: float
    spots: Spots
    accepts: Callable[[Candidate], bool]
    renew: Callable[[], Spots]
    renewed_at: float
    renewals: int = 0
    topic: Topic | None = None
    place: Place | None = None
    evicted: bool = False
    turn: asyncio.Future[None] | None = None
    wakes_at: float = inf
    models: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.models = frozenset(model for _, model in self.spots)

    def wants(self, spot: Spot, now: float) -> bool:
        """May it be sent there by now?"""
        wanted = self.spots.get(spot)
        return wanted is not None and wanted[1] <= now

    def wake(self) -> None:
        """Something has become of it."""
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)
