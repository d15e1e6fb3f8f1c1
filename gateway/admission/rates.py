"""Pure: how many requests a minute one caller may send: a bucket of that many, which fills evenly.

Kept as one moment a caller (GCRA): when its bucket is full again. Not here: what is in flight at once (quotas).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

_MINUTE_S = 60.0
_MOST = 65_536
_NEVER = 0.0


class Moments(Protocol):
    """When each caller's bucket is full again; long ago for one that is unknown."""

    def change(self, who: str, now: float, step: Callable[[float], float]) -> None:
        """`step` is given the moment and returns the new one: nobody else changes it meanwhile."""


class OwnMoments:
    """Of one process. Beyond `most` callers those are forgotten whose bucket is full, and then the nearest to it."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._full_at: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<OwnMoments callers={len(self._full_at)}>"

    def __len__(self) -> int:
        return len(self._full_at)

    def change(self, who: str, now: float, step: Callable[[float], float]) -> None:
        self._full_at[who] = step(self._full_at.get(who, _NEVER))
        if len(self._full_at) > self._most:
            self._forget(now)

    def _forget(self, now: float) -> None:
        kept = {who: at for who, at in self._full_at.items() if at > now}
        if len(kept) > self._most // 2:
            fullest = sorted(kept, key=lambda who: kept[who], reverse=True)[: self._most // 2]
            kept = {who: kept[who] for who in fullest}
        self._full_at = kept


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left after a request. `retry_s` is zero for one that may pass, else the time until one may."""

    limit: int
    left: int
    reset_s: float
    retry_s: float = 0.0

    def headers(self) -> dict[str, str]:
        """As OpenAI has them."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.left),
            "x-ratelimit-reset-requests": f"{ceil(self.reset_s * 1000)}ms",
        }


def take(moments: Moments, who: str, per_minute: int, now: float) -> Standing:
    """One request more; it is not counted where it may not pass."""
    every_s, found = _MINUTE_S / per_minute, Standing(per_minute, 0, 0.0)

    def step(full_at: float) -> float:
        nonlocal found
        before = max(full_at, now)
        after = before + every_s
        over_s = after - now - _MINUTE_S
        if over_s > 1e-6:
            found = Standing(per_minute, 0, before - now, over_s)
            return full_at
        found = Standing(per_minute, int((-over_s + 1e-6) / every_s), after - now)
        return after

    moments.change(who, now, step)
    return found


def give_back(moments: Moments, who: str, per_minute: int, now: float) -> None:
    """That request was not taken, for no fault of its own."""
    moments.change(who, now, lambda full_at: full_at - _MINUTE_S / per_minute)
