"""Ask one candidate after another until one has answered, as far as the protocol's table lets a request be sent again.

Only before the first byte: what happens to a stream that breaks later is `relay.stream`'s. Not here: how a node is
asked (failover, proxying).
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from gateway.balance import Balance
from gateway.directory import away
from gateway.groups import Candidate
from relay.errors import ApiError, BadUpstream, ConnectFailed, Reset, TooManyRequests, Unavailable, UpstreamTimeout
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

    @asynccontextmanager
    async def first(
        self,
        call: Sendable,
        candidates: Sequence[Candidate],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        weak: tuple[type[ApiError], ...],
    ) -> AsyncIterator[tuple[Candidate, _Answer]]:
        """The first candidate that answers well, the request counted for as long as the context lasts.

        `weak` are the failures after which a node is asked last for a while. Raises ApiError: the node's reason where
        the request is at fault, else 429, 502, 503 or 504 when all failed: the one that says when to come back,
        the soonest of several, else the last.
        """
        failure: ApiError = BadUpstream("No node could be asked.", code="no_node")
        unreachable = True
        for candidate in self._balance.order(candidates, time.monotonic())[:_TRIES]:
            with self._balance.carrying(candidate.node, candidate.offer.model):
                try:
                    answer = await ask(candidate)
                except ApiError as error:
                    self._note(call, candidate, error, weak)
                    if not call.may_go_elsewhere(error):
                        raise
                    failure, unreachable = _telling(failure, error), unreachable and isinstance(error, ConnectFailed)
                    continue
                self._balance.answered(candidate, time.monotonic())
                yield candidate, answer
                return
        if unreachable:
            raise away(call.model) from failure
        raise failure

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


def _is_cold(error: ApiError) -> bool:
    """Does a node say that it has to load this model first?"""
    return isinstance(error, Unavailable) and error.theirs and error.code in _COLD


def _telling(before: ApiError, later: ApiError) -> ApiError:
    """Of two nodes' failures the one for the client: a refusal that ends by itself, the sooner of two, else the later.

    One that is just full or still loads its model will answer whoever comes back; a broken one may not.
    """
    sooner = [error for error in (later, before) if isinstance(error, TooManyRequests) or _is_cold(error)]
    return min(sooner, key=lambda error: error.retry_after_s or 0, default=later)
