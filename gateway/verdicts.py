"""What an answer other than well says of a node: whether it is ill, busy or cold, or nothing; told, counted, logged.

Not here: what is remembered of nodes (balance), and who is asked next (search).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.balance import Balance
from gateway.groups import Candidate
from gateway.limits import fired
from gateway.search import ends_by_itself
from relay.errors import ApiError, ConnectFailed, Reset, TooManyRequests, Unavailable, UpstreamTimeout
from relay.http import NODE_HEADER

log = logging.getLogger("waypost.gateway")

# Codes of a 503 that is about one model, not the node.
_COLD = ("model_cold", "model_not_ready", "model_not_loaded", "engine_not_ready")
_REFUSED = "upstream_refused"


class Verdicts:
    """Owns nothing. `on_failure` is told a cause, and `on_limit` which time limit fired."""

    def __init__(self, balance: Balance, on_failure: Callable[[str], None], on_limit: Callable[[str], None]) -> None:
        self._balance = balance
        self._on_failure = on_failure
        self._on_limit = on_limit

    def broke(self, candidate: Candidate, error: ApiError) -> None:
        """A stream that had begun there died: it was cut, fell silent, or made no sense."""
        self._balance.died(candidate, time.monotonic())
        self._count(error)
        log.warning("node %s broke a stream: %.300r (%.60r)", candidate.node, error.message, error.code)

    def note(
        self, request_id: str, candidate: Candidate, error: ApiError, weak: tuple[type[ApiError], ...], now: float
    ) -> None:
        """Whatever a node says stays out of the metrics' labels, and within a line of the log."""
        if error.theirs or not isinstance(error, ConnectFailed | Reset | UpstreamTimeout):
            error.extra_headers[NODE_HEADER] = candidate.node
        self._judge(candidate, error, weak, now)
        if error.status < 500 and not isinstance(error, TooManyRequests):
            return
        if _is_cold(error):
            log.info("%s node %s has %s not loaded", request_id, candidate.node, candidate.offer.model)
            return
        self._count(error)
        log.warning("%s node %s: %.300r (%.60r)", request_id, candidate.node, error.message, error.code)

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


def _is_cold(error: ApiError) -> bool:
    """Does a node say that it has to load this model first?"""
    return isinstance(error, Unavailable) and error.theirs and error.code in _COLD


def _is_refusal(error: ApiError) -> bool:
    """Does a node not take a request that is in order, and was it judged so by its status?"""
    return error.code == _REFUSED and not error.theirs and getattr(error, "upstream_status", None) is not None
