"""One request's search for a node, taken through as `Attempts` would: no loop, no socket, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.balance import Balance
from gateway.groups import Candidate
from gateway.search import Pause, Search
from relay.call import Call
from relay.endpoints import ENDPOINTS
from relay.errors import (
    ApiError,
    BadRequest,
    ConnectFailed,
    TooManyRequests,
    Unavailable,
)
from tests.gateway.adverts import believed, node_key, offer

CHAT = Call(ENDPOINTS["chat.completions"], "m", False, "id")
IMAGE = Call(ENDPOINTS["images.generations"], "m", False, "id")
A, B, C, D = (node_key(name) for name in "abcd")


def candidate(name: str, model: str = "m", **changes: Any) -> Candidate:
    made = offer(model, **changes)
    return Candidate(believed("op", name, made), made)


@dataclass
class Run:
    """A request over these tiers, as `Attempts` would take it through; chance adds nothing to a wait."""

    balance: Balance
    search: Search
    now: float = 0.0

    @classmethod
    def of(
        cls, *tiers: Sequence[Candidate], call: Call = CHAT, queue_s: float = 10.0, resuming: bool = False,
        balance: Balance | None = None, now: float = 0.0,
    ) -> Run:  # fmt: skip
        balance = balance or Balance(spread=lambda: 0.0)
        return cls(balance, Search(balance, call, tiers, now, queue_s, resuming=resuming, spread=lambda: 0.0), now)

    def goes(self, failing: Callable[[Candidate], ApiError | None]) -> tuple[list[str], ApiError | None]:
        """The nodes that are asked, in order, and what the client is told; None: the last one answered."""
        asked = []
        while True:
            step = self.search.next(self.now)
            if isinstance(step, ApiError):
                return asked, step
            if isinstance(step, Pause):
                self.now = step.until
                continue
            asked.append(step.node)
            error = failing(step)
            if error is None:
                return asked, None
            self._judge(step, error)
            if not self.search.failed(step, error, self.now):
                return asked, error

    def _judge(self, tried: Candidate, error: ApiError) -> None:
        if isinstance(error, ConnectFailed):
            self.balance.unreachable(tried, self.now)
        elif isinstance(error, TooManyRequests | Unavailable):
            self.balance.busy(tried, error, self.now)
        elif error.status >= 500:
            self.balance.failed(tried, self.now)


def busy(seconds: int) -> TooManyRequests:
    return TooManyRequests("busy", code="busy", retry_after_s=seconds)


def too_long() -> BadRequest:
    return BadRequest("too long for me", code="context_length_exceeded")
