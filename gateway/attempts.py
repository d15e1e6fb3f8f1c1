"""Ask one candidate after another until one has answered, as far as the protocol's table lets a request be sent again.

Only before the first byte: what happens to a stream that breaks later is `gateway.resuming`'s. Not here: how a node is
asked (failover, proxying), what a failure says of it (verdicts), who is next after one (search), and waiting
for room (admission).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway.admission.admission import Admission
from gateway.admission.line import Rank
from gateway.admission.tickets import Place, Ticket
from gateway.affinity import Topic
from gateway.balance import Balance
from gateway.groups import Candidate
from gateway.search import Pause, Search, Sendable, ends_by_itself
from gateway.tiers import Tiers
from gateway.verdicts import Verdicts
from relay.answer import Relayed
from relay.errors import ApiError
from relay.http import LOAD_HEADER

__all__ = ["Attempts", "Sendable"]

log = logging.getLogger("waypost.gateway")

_LOAD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})\+([0-9]{1,6})")  # running, of so many slots, and waiting
_LATE_S = 0.05  # after a wait whose end is known there is a turn for everybody, and not whoever wakes up first
_Answer = TypeVar("_Answer")


class Attempts:
    """Owns nothing: what is known of nodes is `balance`'s, and who waits `admission`'s. `on_failure` is told a cause,
    and `on_limit` which time limit fired: of both there are few."""

    def __init__(
        self,
        balance: Balance,
        on_failure: Callable[[str], None],
        on_limit: Callable[[str], None] = lambda _: None,
        admission: Admission | None = None,
    ) -> None:
        self._balance = balance
        self._admission = admission or Admission(balance)
        self._verdicts = Verdicts(balance, on_failure, on_limit)
        self._on_limit = on_limit

    def first(
        self,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
        queue_s: float,
        caller: str = "",
        again: Callable[[], Tiers] | None = None,
    ) -> _First[_Answer]:
        """The first candidate that answers well, the request counted for as long as the context lasts.

        A tier is asked once all of the one before have failed, or are full. `weak` are the failures that count against
        a node. Where all are full, or busy and say when to come back, that is waited for, `queue_s` at most since the
        request came, each `caller` in its turn. `again` says who may answer by then.

        Raises ApiError: the node's reason where the request is at fault, else 429, 502, 503 or 504 when all failed: the
        one that says when to come back, the soonest of several, else the last.
        """
        return _First(self, call, tiers, ask, weak, queue_s, caller, again)

    async def find(
        self,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
        queue_s: float,
        caller: str = "",
        again: Callable[[], Tiers] | None = None,
        *,
        resuming: bool = False,
    ) -> tuple[Place, _Answer]:
        """As `first`, but whoever asked ends the count, by `end`. `resuming`: a client has seen the beginning, so that
        no budget of retries stands against it, who is ill is waited for, and everybody else waits."""
        balance, admission, now = self._balance, self._admission, time.monotonic()
        search = step = None
        topic = balance.topic_of(call) if tiers and len(tiers[0]) > 1 else None
        best = balance.order(tiers[0], now, eager=resuming, topic=topic) if tiers else None
        place = admission.enter(best, caller, now, topic) if best else None
        seeking = call, tiers, now, queue_s, resuming, again, topic
        try:
            while True:
                if place is None:
                    search = search or self._search(*seeking)
                    step = await self._next(call, search, caller, resuming)
                    if isinstance(step, ApiError):
                        raise step
                    place, step = step, None
                candidate = place.candidate
                try:
                    answer = await ask(candidate)
                except BaseException as error:
                    self._over(call, place, error, weak)
                    place = None
                    search = search or self._search(*seeking)
                    if not isinstance(error, ApiError) or not search.failed(candidate, error, time.monotonic()):
                        raise
                    continue
                balance.answered(candidate, time.monotonic())
                if isinstance(answer, Relayed) and (load := answer.header(LOAD_HEADER)) is not None:
                    self._heard(candidate, load)
                return place, answer
        finally:
            search = step = None  # the traceback of a failure holds this frame, and these hold the failure

    def end(self, place: Place) -> None:
        """The request that `find` brought to this place is over."""
        self._admission.end(place)

    def broke(self, candidate: Candidate, error: ApiError) -> None:
        """A stream that had begun there died: it was cut, fell silent, or made no sense."""
        self._verdicts.broke(candidate, error)

    def _search(
        self,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        came: float,
        queue_s: float,
        resuming: bool,
        again: Callable[[], Tiers] | None,
        topic: Topic | None,
    ) -> Search:
        return Search(
            self._balance, call, tiers, came, queue_s,
            resuming=resuming, topic=topic, has_room=self._admission.has_room, again=again,
        )  # fmt: skip

    async def _next(self, call: Sendable, search: Search, caller: str, resuming: bool) -> Place | ApiError:
        """Whom to ask, once it is time for that, or what to tell the client."""
        admission = self._admission
        while True:
            now = time.monotonic()
            step = search.next(now)
            if isinstance(step, Candidate):
                return admission.begin(step, caller, now, search.topic)
            if isinstance(step, ApiError):
                if search.gave_up:
                    self._on_limit("queue")
                if ends_by_itself(step):
                    back_at = now + (step.retry_after_s or 0)
                    step.retry_after_s = admission.appoint(_ticket(search, Pause(now, True), caller, now), back_at)
                return step
            ticket = _ticket(search, step, caller, now, search.rank)
            log.info("%s waits %.1f s at most for a node that is busy", call.request_id, step.until - now)
            place = await admission.wait(ticket, step.until + (0.0 if step.full else _LATE_S))
            search.rank = ticket.rank  # whoever was promised something is, until it is answered
            if place is not None:
                return place
            if not step.full and not ticket.evicted:
                continue
            candidate = search.nevertheless(time.monotonic()) if resuming else None
            if candidate is not None:
                return admission.begin(candidate, caller, time.monotonic(), search.topic)
            if search.may_wait:
                self._on_limit("queue")
            return admission.busy(ticket, call.model)

    def _heard(self, candidate: Candidate, load: str) -> None:
        """What a node says of itself; what is no load says nothing."""
        said = _LOAD.fullmatch(load)
        if said is not None:
            self._balance.loaded(candidate, int(said[1]), int(said[2]), int(said[3]), time.monotonic())

    def _over(self, call: Sendable, place: Place, error: BaseException, weak: tuple[type[ApiError], ...]) -> None:
        """That try has failed, or its client is gone."""
        now, candidate = time.monotonic(), place.candidate
        if isinstance(error, ApiError):
            self._verdicts.note(call.request_id, candidate, error, weak, now)
        self._admission.end(place, well=False)  # only now: who waits for the place is not to meet what was met here


class _First(Generic[_Answer]):
    """The context of one request; a class, since a generator would cost more than the rest of the routing."""

    __slots__ = ("_asked", "_attempts", "_place")

    def __init__(
        self,
        attempts: Attempts,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
        queue_s: float,
        caller: str,
        again: Callable[[], Tiers] | None,
    ) -> None:
        self._attempts = attempts
        self._asked = (call, tiers, ask, weak, queue_s, caller, again)
        self._place: Place | None = None

    async def __aenter__(self) -> tuple[Candidate, _Answer]:
        self._place, answer = await self._attempts.find(*self._asked)
        return self._place.candidate, answer

    async def __aexit__(self, *_: object) -> None:
        assert self._place is not None
        self._attempts.end(self._place)


def _ticket(search: Search, pause: Pause, caller: str, now: float, rank: Rank = Rank.USUAL) -> Ticket:
    return Ticket(
        caller, rank, search.came, search.spots(pause, now),
        accepts=lambda candidate: search.accepts(candidate, time.monotonic()),
        renew=lambda: search.renewed(pause, time.monotonic()),
        renewed_at=now,
        topic=search.topic,
    )  # fmt: skip
