"""Which request is sent now, and which waits here for a node that has room. One a process that serves.

Where a node has room and nobody waits for the model, nothing is made but the count. Else a request waits, without a
task: it is woken by the request that ends, or by the one timer there is, for what only time or news can change. Not
here: whose turn it is (line), who is asked after a failure (search), and what one caller may have (quotas).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from gateway.admission.alarm import TICK_S, Alarm
from gateway.admission.line import Line, Rank
from gateway.admission.promises import Promises
from gateway.admission.tickets import Place, Spot, Spots, Ticket
from gateway.affinity import Topic
from gateway.balance import Balance
from gateway.groups import Candidate
from relay.errors import TooManyRequests

_QUEUE = 512
_PROMISED_S = 10.0  # whoever comes back when it was told to waits so long, whatever the limit for others is
_RENEWED_AT_ONCE = 8  # of those that wait: the next ones in turn
_MOST_LINES = 4096


class Admission:
    """Owns what is in flight by caller, who waits, and what was promised. `queue`: so many wait for one model."""

    def __init__(self, balance: Balance, queue: int = _QUEUE, clock: Callable[[], float] = time.monotonic) -> None:
        self._balance: Final = balance
        self._queue = queue
        self._clock = clock
        self._lines: dict[str, Line[Ticket]] = {}
        self._promises = Promises()
        self._alarm: Final = Alarm(lambda: self._clock(), self._tick)

    def __repr__(self) -> str:
        return f"<Admission in_flight={self.in_flight} waiting={self.waiting} {self._promises!r}>"

    @property
    def in_flight(self) -> int:
        """Requests with nodes, by the count of their callers."""
        return sum(line.holds.running for line in self._lines.values())

    @property
    def waiting(self) -> int:
        """Places in queues; a request that may go to several models has one in each."""
        return sum(line.waiting for line in self._lines.values())

    @property
    def promised(self) -> int:
        """Who was told when to come back, and may still come."""
        return self._promises.count(self._clock())

    def has_room(self, candidate: Candidate, now: float) -> bool:
        """May another request go there at once, past nobody who waits?"""
        line = self._lines.get(candidate.offer.model)
        return (line is None or not line.waiting) and self._balance.has_room(candidate, now)

    def enter(self, ordered: Sequence[Candidate], caller: str, now: float, topic: Topic | None = None) -> Place | None:
        """At the first of these that has room. The place is the caller's to `end`."""
        for candidate in ordered:
            line = self._lines.get(candidate.offer.model)
            if (line is None or not line.waiting) and self._balance.has_room(candidate, now):
                if self._promises.made:
                    self._promises.take(candidate.offer.model, caller, now)
                return self.begin(candidate, caller, now, topic)
        return None

    def begin(self, candidate: Candidate, caller: str, now: float, topic: Topic | None = None) -> Place:
        """There, whether it has room or not."""
        balance, node, model = self._balance, candidate.node, candidate.offer.model
        line = self._lines.get(model) or self._line(model)
        probing = balance.probe(candidate, now)
        balance.begin(node, model, topic)
        line.begin(caller, now)
        return Place(candidate, caller, line, now, probing)

    def end(self, place: Place, *, well: bool = True) -> None:
        """That request is over, and whoever waits for its place has it; not `well`: it was not answered."""
        now, candidate, line = self._clock(), place.candidate, place.line
        if place.probing and not well:
            self._balance.abandoned(candidate, now)  # unless it was judged just now
        self._balance.end(candidate.node, candidate.offer.model)
        line.end(place.caller, place.began, now, well=well)
        if line.waiting:
            self._serve((candidate.node, candidate.offer.model), line, now)

    async def wait(self, ticket: Ticket, until: float) -> Place | None:
        """For a place at one of the ticket's spots, which is the caller's to `end`; None when the time is over, or
        where somebody else needs the room to wait more."""
        now = self._clock()
        if ticket.rank is Rank.USUAL and any(self._promises.take(m, ticket.caller, now) for m in ticket.models):
            ticket.rank, until = Rank.PROMISED, max(until, now + _PROMISED_S)
        if not self._make_room_for(ticket):
            return None
        self._join(ticket)
        try:
            self._offer(ticket, now)
            if ticket.place is None and not ticket.evicted and until > now:
                await self._turn_of(ticket, until - now)
            place, ticket.place = ticket.place, None
            return place
        finally:
            self._leave(ticket)
            if ticket.place is not None:  # it was given as its client left
                self.end(ticket.place, well=False)

    def appoint(self, ticket: Ticket, back_at: float = 0.0) -> int:
        """In how many seconds the caller is served, if it comes then: that is a promise, within bounds.

        `back_at`: nobody answers before then. Of several models the first one's word counts.
        """
        now = self._clock()
        model = next(iter(ticket.spots))[1] if ticket.spots else ""
        line = self._lines.get(model) or Line()
        slots = sum(
            self._balance.in_flight_of(*spot) or candidate.offer.parallel
            for spot, (candidate, _) in ticket.spots.items() if spot[1] == model
        )  # fmt: skip
        interval_s = line.holds.interval_s(slots, now)
        ahead = line.ahead_of(ticket.caller, self._promises.of(model, ticket.caller))
        at = max(back_at, now + interval_s) + ahead * interval_s
        return self._promises.appoint(model, ticket.caller, at, interval_s, now)

    def busy(self, ticket: Ticket, model: str) -> TooManyRequests:
        """What a caller is told that has waited in vain, or cannot wait."""
        after_s = self.appoint(ticket)
        text = f"All nodes that serve {model!r} are busy; come back in {after_s} s."
        return TooManyRequests(text, code="busy", retry_after_s=after_s)

    def close(self) -> None:
        """The timer ends."""
        self._alarm.close()

    # Who waits.

    def _make_room_for(self, ticket: Ticket) -> bool:
        """Whether there is room to wait, perhaps because somebody with more than its share has left it."""
        for line in (self._line(model) for model in ticket.models):
            if line.waiting < self._queue or ticket.rank is not Rank.USUAL:
                continue
            evicted = line.to_evict(ticket.caller) if self._queue else None
            if evicted is None:
                return False
            evicted.evicted = True
            self._leave(evicted)
            evicted.wake()
        return bool(ticket.models)

    def _join(self, ticket: Ticket) -> None:
        for model in ticket.models:
            self._line(model).join(ticket)

    def _leave(self, ticket: Ticket, served_at: float | None = None) -> None:
        for model in ticket.models:
            line = self._lines.get(model)
            if line is not None:
                line.leave(ticket, served_at)

    async def _turn_of(self, ticket: Ticket, limit_s: float) -> None:
        ticket.turn = asyncio.get_running_loop().create_future()
        ticket.wakes_at = self._wakes_at(ticket, self._clock())
        self._alarm.set(ticket.wakes_at)
        try:
            async with asyncio.timeout(limit_s):
                await ticket.turn
        except TimeoutError:
            pass  # a place may have been given at the last moment

    # Whose turn it is.

    def _offer(self, ticket: Ticket, now: float) -> None:
        """Whatever is free goes to whose turn it is: perhaps this one's."""
        for spot, (candidate, _) in list(ticket.spots.items()):
            if ticket.place is not None:
                return
            if self._balance.has_room(candidate, now):
                self._serve(spot, self._lines[spot[1]], now)

    def _serve(self, spot: Spot, line: Line[Ticket], now: float) -> None:
        """Fill that spot with those that wait for it, in turn."""
        renewed = False
        while line.waiting:
            ticket = line.next(lambda each: each.wants(spot, now))
            if ticket is None:
                if renewed or not self._renew(line, now):
                    return
                renewed = True
                continue
            candidate = ticket.spots[spot][0]
            eager = ticket.rank is Rank.RESUMING
            if not self._balance.has_room(candidate, now) or not self._balance.order((candidate,), now, eager=eager):
                return
            if not ticket.accepts(candidate):
                ticket.spots = {each: wanted for each, wanted in ticket.spots.items() if each != spot}
                continue
            ticket.place = self.begin(candidate, ticket.caller, now, ticket.topic)
            self._leave(ticket, now)
            ticket.wake()

    def _renew(self, line: Line[Ticket], now: float) -> bool:
        """Nodes may have come since the next ones in turn were resolved. Whether any was resolved anew."""
        due = line.heads(lambda each: each.renewed_at <= now - TICK_S, _RENEWED_AT_ONCE)
        for ticket in due:
            ticket.renewed_at, ticket.renewals = now, ticket.renewals + 1
            ticket.spots = {spot: wanted for spot, wanted in ticket.renew().items() if spot[1] in ticket.models}
        return bool(due)

    # What only time changes.

    def _wakes_at(self, ticket: Ticket, now: float) -> float:
        """When the next of its spots may be had that cannot be had now for another reason than that it is full."""
        opens = (max(at, self._balance.opens_at(candidate, now)) for candidate, at in ticket.spots.values())
        return min((at for at in opens if at > now), default=inf)

    def _tick(self) -> None:
        now, soonest, waited = self._clock(), inf, False
        for line in list(self._lines.values()):
            if not line.waiting:
                continue
            self._renew(line, now)
            spots = {spot: candidate for each in line.everybody() for spot, (candidate, _) in each.spots.items()}
            for spot, candidate in spots.items():
                if self._balance.has_room(candidate, now):
                    self._serve(spot, self._lines[spot[1]], now)
            for ticket in line.everybody():
                waited = True
                if ticket.wakes_at <= now:
                    ticket.wakes_at = inf  # whatever stands against it now is looked at by the next tick
                soonest = min(soonest, ticket.wakes_at)
        if waited:
            self._alarm.set(soonest)

    def _line(self, model: str) -> Line[Ticket]:
        line = self._lines.get(model)
        if line is None:
            if len(self._lines) >= _MOST_LINES:
                self._lines = {name: each for name, each in self._lines.items() if not each.idle}
            line = self._lines[model] = Line()
        return line


__all__ = ["Admission", "Place", "Rank", "Spots", "Ticket"]
