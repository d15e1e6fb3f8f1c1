"""Ask one candidate after another until one has answered, as far as the protocol's table lets a request be sent again.

Only before the first byte: what happens to a stream that breaks later is `gateway.resuming`'s. Not here: how a node is
asked (failover, proxying), and who is next after a failure (search).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway.balance import Balance
from gateway.groups import Candidate
from gateway.limits import fired
from gateway.search import Search, Sendable, ends_by_itself
from relay.errors import ApiError, ConnectFailed, Reset, TooManyRequests, Unavailable, UpstreamTimeout
from relay.http import NODE_HEADER

__all__ = ["Attempts", "Sendable"]

log = logging.getLogger("waypost.gateway")

# Codes of a 503 that is about one model, not the node.
_COLD = ("model_cold", "model_not_ready", "model_not_loaded", "engine_not_ready")
_REFUSED = "upstream_refused"
_Answer = TypeVar("_Answer")


class Attempts:
    """Owns nothing: what is known of nodes is `balance`'s. `on_failure` is told a cause, and `on_limit` which time
    limit fired: of both there are few."""

    def __init__(
        self,
        balance: Balance,
        on_failure: Callable[[str], None],
        on_limit: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._balance = balance
        self._on_failure = on_failure
        self._on_limit = on_limit

    def first(
        self,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
        queue_s: float,
    ) -> _First[_Answer]:
        """The first candidate that answers well, the request counted for as long as the context lasts.

        A tier is asked once all of the one before have failed. `weak` are the failures that count against a node. Where
        all are busy and say when to come back, that is waited for, `queue_s` at most since the request came.

        Raises ApiError: the node's reason where the request is at fault, else 429, 502, 503 or 504 when all failed: the
        one that says when to come back, the soonest of several, else the last.
        """
        return _First(self, call, tiers, ask, weak, queue_s)

    async def find(
        self,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
        queue_s: float,
        *,
        resuming: bool = False,
    ) -> tuple[Candidate, _Answer]:
        """As `first`, but whoever asked ends the count, by `end`. `resuming`: a client has seen the beginning, so that
        no budget of retries stands against it, and who is ill is waited for."""
        balance, came = self._balance, time.monotonic()
        now, search = came, None
        best = balance.order(tiers[0], now, eager=resuming) if tiers else None
        step: Candidate | ApiError | None = best[0] if best else None
        try:
            while True:
                if step is None:
                    search = search or Search(balance, call, tiers, came, queue_s, resuming=resuming)
                    step, now = await self._next(call, search), time.monotonic()
                if isinstance(step, ApiError):
                    raise step
                candidate, step = step, None
                probing = balance.probe(candidate, now)
                balance.begin(candidate.node, candidate.offer.model)
                try:
                    answer = await ask(candidate)
                except BaseException as error:
                    self._over(call, candidate, error, weak, probing)
                    search = search or Search(balance, call, tiers, came, queue_s, resuming=resuming)
                    if not isinstance(error, ApiError) or not search.failed(candidate, error, time.monotonic()):
                        raise
                    continue
                balance.answered(candidate, time.monotonic())
                return candidate, answer
        finally:
            search = step = None  # the traceback of a failure holds this frame, and these hold the failure

    def end(self, candidate: Candidate) -> None:
        """The request that `find` brought to this candidate is over."""
        self._balance.end(candidate.node, candidate.offer.model)

    def broke(self, candidate: Candidate, error: ApiError) -> None:
        """A stream that had begun there died: it was cut, fell silent, or made no sense."""
        self._balance.died(candidate, time.monotonic())
        self._count(error)
        log.warning("node %s broke a stream: %.300r (%.60r)", candidate.node, error.message, error.code)

    async def _next(self, call: Sendable, search: Search) -> Candidate | ApiError:
        """Whom to ask, once it is time for that, or what to tell the client."""
        while isinstance(step := search.next(time.monotonic()), float):
            log.info("%s waits %.1f s for a node that is busy", call.request_id, step)
            await asyncio.sleep(step)
        if search.gave_up and isinstance(step, ApiError):
            self._on_limit("queue")
        return step

    def _over(
        self,
        call: Sendable,
        candidate: Candidate,
        error: BaseException,
        weak: tuple[type[ApiError], ...],
        probing: bool,
    ) -> None:
        """That try has failed, or its client is gone."""
        now = time.monotonic()
        self.end(candidate)
        if isinstance(error, ApiError):
            self._note(call, candidate, error, weak, now)
        if probing:
            self._balance.abandoned(candidate, now)  # unless it was judged just now

    def _note(
        self, call: Sendable, candidate: Candidate, error: ApiError, weak: tuple[type[ApiError], ...], now: float
    ) -> None:
        """Whatever a node says stays out of the metrics' labels, and within a line of the log."""
        if error.theirs or not isinstance(error, ConnectFailed | Reset | UpstreamTimeout):
            error.extra_headers[NODE_HEADER] = candidate.node
        self._judge(candidate, error, weak, now)
        if error.status < 500 and not isinstance(error, TooManyRequests):
            return
        if _is_cold(error):
            log.info("%s node %s has %s not loaded", call.request_id, candidate.node, candidate.offer.model)
            return
        self._count(error)
        log.warning("%s node %s: %.300r (%.60r)", call.request_id, candidate.node, error.message, error.code)

    def _judge(self, candidate: Candidate, error: ApiError, weak: tuple[type[ApiError], ...], now: float) -> None:
        """What a failure says of the node."""
        balance = self._balance
        if _is_cold(error):
            balance.refused_cold(candidate, now, error.retry_after_s)
        elif not isinstance(error, weak):
            if error.theirs:
                balance.reached(candidate)
        elif isinstance(error, ConnectFailed):
            balance.unreachable(candidate, now)
        elif _is_refusal(error):
            balance.refused(candidate, now)
        elif ends_by_itself(error):
            balance.busy(candidate, error, now)
        elif error.status >= 500:
            balance.failed(candidate, now, reached=error.theirs)
        elif error.theirs:
            balance.responded(candidate, now)

    def _count(self, error: ApiError) -> None:
        self._on_failure(f"status_{error.status}" if error.theirs else error.code or error.type)
        limit = fired(error)
        if limit is not None:
            self._on_limit(limit)


class _First(Generic[_Answer]):
    """The context of one request; a class, since a generator would cost more than the rest of the routing."""

    __slots__ = ("_asked", "_attempts", "_candidate")

    def __init__(
        self,
        attempts: Attempts,
        call: Sendable,
        tiers: Sequence[Sequence[Candidate]],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
        queue_s: float,
    ) -> None:
        self._attempts = attempts
        self._asked = (call, tiers, ask, weak, queue_s)
        self._candidate: Candidate | None = None

    async def __aenter__(self) -> tuple[Candidate, _Answer]:
        found = await self._attempts.find(*self._asked)
        self._candidate = found[0]
        return found

    async def __aexit__(self, *_: object) -> None:
        assert self._candidate is not None
        self._attempts.end(self._candidate)


def _is_cold(error: ApiError) -> bool:
    """Does a node say that it has to load this model first?"""
    return isinstance(error, Unavailable) and error.theirs and error.code in _COLD


def _is_refusal(error: ApiError) -> bool:
    """Does a node not take a request that is in order, and was it judged so by its status?"""
    return error.code == _REFUSED and not error.theirs and getattr(error, "upstream_status", None) is not None
