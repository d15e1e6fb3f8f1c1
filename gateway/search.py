"""Pure: a request has failed, or found nobody to ask. Who is asked next, for what is it worth waiting, what is told.

Made only then: a request that is answered at once needs none. Not here: asking (attempts), and waiting (admission).
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.admission.line import Rank
from gateway.admission.tickets import Spot, Spots
from gateway.affinity import Topic
from gateway.balance import Balance
from gateway.directory import away
from gateway.groups import Candidate
from gateway.rests import Rest
from relay.errors import ApiError, ConnectFailed, TooManyRequests, Unavailable

_TRIES_OF_TIER = 4
_TRIES = 8
_WAITS = 2
_LATE_S = 0.02  # a sleep may end a little early
_SPREAD = 0.25  # of a wait, so that those who were sent away together do not come back together
_SPREAD_MOST_S = 1.0
_TOO_LONG = "context_length_exceeded"


class Sendable(Protocol):
    """A request, and whether it may be sent to another node after a failure."""

    @property
    def model(self) -> str: ...

    @property
    def request_id(self) -> str: ...

    def may_go_elsewhere(self, error: ApiError) -> bool: ...


@dataclass(frozen=True)
class Pause:
    """Nobody can be asked now; somebody may be by `until`. `full`: some are well and have no room, and else all said
    when they are back."""

    until: float
    full: bool


@dataclass(frozen=True)
class _Back:
    """Somebody answers from then on; `rest`: what they said to another request, if not to this one."""

    at: float
    rest: Rest | None


class Search:
    """One request's. `gave_up`: something might have been had by waiting longer than is allowed.

    `has_room` says whether a node takes one more now; `again` who may answer by now, as `tiers` did.
    """

    def __init__(
        self,
        balance: Balance,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        came: float,
        queue_s: float,
        *,
        resuming: bool = False,
        topic: Topic | None = None,
        spread: Callable[[], float] = random.random,
        has_room: Callable[[Candidate, float], bool] | None = None,
        again: Callable[[], Sequence[Sequence[Candidate]]] | None = None,
    ) -> None:
        self._balance = balance
        self._has_room = has_room or (lambda _, __: True)
        self._again = again
        self.topic = topic
        self.came = came
        self.rank = Rank.RESUMING if resuming else Rank.USUAL
        self._call = call
        self._tiers = tiers
        self._until = came + queue_s
        self.may_wait = queue_s > 0
        self._resuming = resuming
        self._spread = spread
        self._tier = 0
        self._tries_of_tier = 0
        self._tries = 0
        self._waits = 0
        self._tried: dict[tuple[str, str], float | None] = {}  # when it said to come back, if it did
        self._failure: ApiError | None = None
        self._too_long: ApiError | None = None
        self._longest = 0  # of the contexts that were too short, in tokens
        self._unreachable = True  # all that were tried
        self.gave_up = False

    def __repr__(self) -> str:
        return f"<Search tier={self._tier} tries={self._tries} waits={self._waits}>"

    def failed(self, candidate: Candidate, error: ApiError, now: float) -> bool:
        """That was tried. Returns whether the request may go elsewhere; else the error is the client's."""
        self._tries += 1
        self._tries_of_tier += 1
        back_at = now + max(1, error.retry_after_s or 0) if ends_by_itself(error) else None
        self._tried[candidate.node, candidate.offer.model] = back_at
        if error.code == _TOO_LONG and error.status < 500:
            if not self._call.may_go_elsewhere(TooManyRequests("")):  # which, like this, says that no work was done
                return False
            self._too_long = self._too_long or error
            self._longest = max(self._longest, candidate.offer.context_length or 0)
            self._failure = None  # nobody that may follow is like those
            return True
        self._failure = error if self._failure is None else telling(self._failure, error)
        self._unreachable = self._unreachable and isinstance(error, ConnectFailed)
        return self._call.may_go_elsewhere(error)

    def next(self, now: float) -> Candidate | Pause | ApiError:
        """Whom to ask now, or what to wait for before the next call, or what to tell the client."""
        full = False
        while self._tries < _TRIES and self._tier < len(self._tiers):
            if self._tries_of_tier < _TRIES_OF_TIER:
                for candidate in [c for c in self._ordered(self._tier, now) if self._suits(c, now)]:
                    if not self._has_room(candidate, now):
                        full = True
                    elif self._may_retry(candidate, now):
                        return candidate
            self._tier += 1
            self._tries_of_tier = 0
        if full:
            self._tier = self._tries_of_tier = 0
            return Pause(self._until, True)
        back = self._soonest(now)
        if back is not None and (wait := self._wait(back.at - now, now)) is not None:
            return Pause(now + wait, False)
        return self._told(back, now)

    def spots(self, pause: Pause, now: float) -> Spots:
        """Where the request may be sent as soon as that is possible; best first."""
        found: dict[Spot, tuple[Candidate, float]] = {}
        for index, tier in enumerate(self._tiers):
            for candidate in (*self._ordered(index, now), *tier):
                key = candidate.node, candidate.offer.model
                back_at = self._tried.get(key, 0.0)
                if back_at is not None and not self._is_too_small(candidate):
                    found.setdefault(key, (candidate, back_at if pause.full else max(back_at, pause.until)))
        return found

    def renewed(self, pause: Pause, now: float) -> Spots:
        """The same, with whom there is by now."""
        if self._again is not None:
            with contextlib.suppress(ApiError):  # what was known is as good as nothing
                self._tiers = self._again()
        return self.spots(pause, now)

    def accepts(self, candidate: Candidate, now: float) -> bool:
        """One that was waited for can be had. Is it still worth a try? That is counted, where it is a retry."""
        return self._tries < _TRIES and self._may_retry(candidate, now)

    def nevertheless(self, now: float) -> Candidate | None:
        """The best of those that are full: a stream that goes on is worth the try."""
        return next((c for at in range(len(self._tiers)) for c in self._ordered(at, now) if self._suits(c, now)), None)

    def _ordered(self, tier: int, now: float) -> list[Candidate]:
        return self._balance.order(self._tiers[tier], now, eager=self._resuming, topic=self.topic)

    def _suits(self, candidate: Candidate, now: float) -> bool:
        back_at = self._tried.get((candidate.node, candidate.offer.model), 0.0)  # which is of one that was not tried
        if back_at is None or back_at > now or (back_at and not self._waits):
            return False
        return not self._is_too_small(candidate)

    def _is_too_small(self, candidate: Candidate) -> bool:
        return self._too_long is not None and (candidate.offer.context_length or 0) <= self._longest

    def _may_retry(self, candidate: Candidate, now: float) -> bool:
        first = not (self._tries or self._waits)
        return self._resuming or first or self._balance.take_retry(candidate, now)

    def _soonest(self, now: float) -> _Back | None:
        """Who will answer first, of those who said when: to this request, or to another one. What has begun already
        waits for the ill too."""
        found = []
        for candidate in (candidate for tier in self._tiers for candidate in tier if not self._is_too_small(candidate)):
            key = candidate.node, candidate.offer.model
            rest = self._balance.rest(candidate, now) if key not in self._tried else None
            said = self._tried.get(key) if rest is None or not rest.busy else rest.back_at
            opens_at = self._balance.opens_at(candidate, now)
            if said is not None:
                found.append(_Back(max(said, opens_at), rest))
            elif self._resuming and key not in self._tried and rest is None and opens_at > now:
                found.append(_Back(opens_at, None))
        return min(found, key=lambda back: back.at, default=None)

    def _wait(self, span_s: float, now: float) -> float | None:
        """How long to wait for somebody who is back in `span_s`, if that is worth it; then all tiers are gone through
        again."""
        wait = max(0.0, span_s)
        wait += _LATE_S + min(wait * _SPREAD, _SPREAD_MOST_S) * self._spread()
        if self._waits == _WAITS or self._tries >= _TRIES:
            return None
        if now + wait > self._until:
            self.gave_up = self.may_wait
            return None
        self._waits += 1
        self._tier = self._tries_of_tier = 0
        return wait

    def _told(self, back: _Back | None, now: float) -> ApiError:
        """The failure for the client; with a time to come back, where there is one, that is true now."""
        failure = self._failure
        if back is not None and back.rest is not None:
            return back.rest.error(_whole_s(back.at - now))
        if back is not None and failure is not None and ends_by_itself(failure):
            failure.retry_after_s = _whole_s(back.at - now)
            return failure
        if failure is None and self._too_long is not None:
            return self._too_long
        return self._away(failure, now) if failure is None or self._unreachable else failure

    def _away(self, failure: ApiError | None, now: float) -> ApiError:
        error = away(self._call.model)
        error.__cause__ = failure
        opening = [self._balance.opens_at(c, now) for tier in self._tiers for c in tier]
        if opening:
            error.retry_after_s = _whole_s(min(opening) - now)
        return error


def ends_by_itself(error: ApiError) -> bool:
    """Does whoever is asked say that they will answer, and when?"""
    return isinstance(error, TooManyRequests | Unavailable) and error.says_when


def telling(before: ApiError, later: ApiError) -> ApiError:
    """Of two nodes' failures the one for the client: a refusal that ends by itself, the sooner of two, else the later.

    One that is just full or still loads its model will answer whoever comes back; a broken one may not.
    """
    sooner = [error for error in (later, before) if ends_by_itself(error)]
    return min(sooner, key=lambda error: error.retry_after_s or 0, default=later)


def _whole_s(span_s: float) -> int:
    return max(1, math.ceil(span_s))
