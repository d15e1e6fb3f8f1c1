"""What the node asks of an engine, whatever answers behind it.

A further engine is one file here, and a row in `opening`. Not here: who may use its slots (pool).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from node.life import Life
from relay.answer import Answer
from relay.call import Call
from relay.errors import ApiError


class EngineError(Exception):
    """An engine that cannot be used; one line with the fix."""


@dataclass(frozen=True)
class Door:
    """Where an engine itself is reached: `url` has no path; `headers` go with each request.

    `judge` makes an error of what it answers otherwise than well: status, body, Retry-After. `check`, where there is
    one, must have seen a body before the engine does: it raises ApiError.
    """

    session: aiohttp.ClientSession
    url: str
    judge: Callable[[int, bytes, str | None], ApiError]
    headers: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[bytes], None] | None = None


class Engine(Protocol):
    """One model's engine. `slots` is how many calls it takes at once."""

    name: str
    slots: int

    @property
    def life(self) -> Life: ...

    async def run(self) -> None:
        """Keep it up until cancelled."""
        ...

    async def ask(self, call: Call) -> Answer:
        """Send a call to the engine that is ready. Raises ApiError: what it finds wrong, or how it failed."""
        ...

    @property
    def door(self) -> Door:
        """For the generic proxy, while it runs."""
        ...
