"""The one timer of those that wait: it rings when one of them wants to be looked at, and after a while anyway.

Not here: what is done then (admission).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

TICK_S: Final = 1.0  # so often is looked for what nobody tells: new nodes, and those that are well again
_SOONEST_S = 0.02


class Alarm:
    """Rings once for each time that it was set. `clock` is in seconds, as the moments are."""

    def __init__(self, clock: Callable[[], float], ring: Callable[[], None]) -> None:
        self._clock: Final = clock
        self._ring: Final = ring
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = inf

    def __repr__(self) -> str:
        return f"<Alarm{'' if self._timer is None else ' set'}>"

    def set(self, at: float) -> None:
        """It rings by then, or sooner where it is set already."""
        now = self._clock()
        at = max(min(at, now + TICK_S), now + _SOONEST_S)
        if self._timer is not None:
            if self._rings_at <= at:
                return
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_later(at - now, self._rung)

    def close(self) -> None:
        """It rings no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _rung(self) -> None:
        self._timer = None
        self._ring()
