"""Ask one candidate after another until one has answered, as far as the protocol's table lets a request be sent again.

Only before the first byte: what happens to a stream that breaks later is `relay.stream`'s. Not here: how a node is
asked (failover, proxying).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from gateway.balance import Balance
from gateway.directory import away
from gateway.groups import Candidate
from relay.errors import ApiError, ConnectFailed, Reset, TooManyRequests, Unavailable, UpstreamTimeout
from relay.http import NODE_HEADER

log = logging.getLogger("waypost.gateway")

_TRIES = 4
# Codes of a 503 that is about one model, not the node.
_COLD = ("model_cold", "model_not_ready", "model_not_loaded", "engine_not_ready")
_Answer = TypeVar("_Answer")


class Sendable(Protocol):
    """A request, and whether it may be sent to another node after a failure."""

    @property
    def model(self) -> str: ...

    @property
    def request_id(self) -> str: ...

    def may_go_elsewhere(self, error: ApiError) -> bool: ...


class Attempts:
    """Owns nothing: counts are `balance`'s. `on_failure` is told a cause of which there are few."""

    def __init__(self, balance: Balance, on_failure: Callable[[str], None]) -> None:
        self._balance = balance
        self._on_failure = on_failure

    def first(
        self,
        call: Sendable,
        candidates: Sequence[Candidate],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
    ) -> _First[_Answer]:
        """The first candidate that answers well, the request counted for as long as the context lasts.

        `weak` are the failures after which a node is asked last for a while. Raises ApiError: the node's reason where
        the request is at fault, else 429, 502, 503 or 504 when all failed: the one that says when to come back,
        the soonest of several, else the last.
        """
        return _First(self, call, candidates, ask, weak)

    async def find(
        self,
        call: Sendable,
        candidates: Sequence[Candidate],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
    ) -> tuple[Candidate, _Answer]:
        """As `first`, but whoever asked ends the count, by `end`."""
        failure: ApiError | None = None
        unreachable = True
        balance = self._balance
        try:
            for candidate in balance.order(candidates, time.monotonic())[:_TRIES]:
                balance.begin(candidate.node, candidate.offer.model)
                try:
                    answer = await ask(candidate)
                except BaseException as error:
                    self.end(candidate)
                    if not isinstance(error, ApiError):
                        raise
                    self._note(call, candidate, error, weak)
                    if not call.may_go_elsewhere(error):
                        raise
                    failure = error if failure is None else _telling(failure, error)
                    unreachable = unreachable and isinstance(error, ConnectFailed)
                    continue
                balance.answered(candidate, time.monotonic())
                return candidate, answer
            if unreachable:
                raise away(call.model) from failure
            assert failure is not None
            raise failure
        finally:
            failure = None  # its traceback holds this frame

    def end(self, candidate: Candidate) -> None:
        """The request that `find` brought to this candidate is over."""
        self._balance.end(candidate.node, candidate.offer.model)

    def _note(self, call: Sendable, candidate: Candidate, error: ApiError, weak: tuple[type[ApiError], ...]) -> None:
        """Whatever a node says stays out of the metrics' labels, and within a line of the log."""
        if error.theirs or not isinstance(error, ConnectFailed | Reset | UpstreamTimeout):
            error.extra_headers[NODE_HEADER] = candidate.node
        if error.status < 500 and not isinstance(error, TooManyRequests):
            return
        if _is_cold(error):
            self._balance.refused_cold(candidate, time.monotonic(), error.retry_after_s)
            log.info("%s node %s has %s not loaded", call.request_id, candidate.node, candidate.offer.model)
            return
        if isinstance(error, weak):
            self._balance.failed(candidate.node, time.monotonic(), error.retry_after_s)
        self._on_failure(f"status_{error.status}" if error.theirs else error.code or error.type)
        log.warning("%s node %s: %.300r (%.60r)", call.request_id, candidate.node, error.message, error.code)


class _First(Generic[_Answer]):
    """The context of one request; a class, since a generator would cost more than the rest of the routing."""

    __slots__ = ("_asked", "_attempts", "_candidate")

    def __init__(
        self,
        attempts: Attempts,
        call: Sendable,
        candidates: Sequence[Candidate],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
    ) -> None:
        self._attempts = attempts
        self._asked = (call, candidates, ask, weak)
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


def _telling(before: ApiError, later: ApiError) -> ApiError:
    """Of two nodes' failures the one for the client: a refusal that ends by itself, the sooner of two, else the later.

    One that is just full or still loads its model will answer whoever comes back; a broken one may not.
    """
    sooner = [error for error in (later, before) if isinstance(error, TooManyRequests) or _is_cold(error)]
    return min(sooner, key=lambda error: error.retry_after_s or 0, default=later)
