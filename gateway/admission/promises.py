"""Pure: who was sent away with a time to come back, and so goes before those who were not.

A promise is for one model and one caller. It is good from when the caller was told to come until a while after that,
and for one request. Not here: which time is told (admission).
"""

from __future__ import annotations

from math import ceil

_EARLY_S = 0.25  # clocks, and what is lost to rounding
_ROUNDED_S = 0.1  # so little more is not worth a second
_LATE_S = 10.0
_LATE_SHARE = 0.5  # of the time that was told: who was told a minute may come half a minute late
_MOST = 1024
_MOST_RETRY_S = 600
_MOST_OF_CALLER = 8

_Span = tuple[float, float, float]  # from when, and until when it is kept; and when its turn is by what is known


class Promises:
    """Bounded for each caller and model, and in all. `made` is empty where there are none. Looks at no clock."""

    def __init__(self, most: int = _MOST, most_of_caller: int = _MOST_OF_CALLER) -> None:
        self._most = most
        self._most_of_caller = most_of_caller
        self.made: dict[str, dict[str, list[_Span]]] = {}  # by model, and caller

    def __repr__(self) -> str:
        return f"<Promises models={len(self.made)}>"

    def count(self, now: float) -> int:
        """All that can still be kept."""
        self._prune(now)
        return sum(len(spans) for callers in self.made.values() for spans in callers.values())

    def appoint(self, model: str, caller: str, at: float, interval_s: float, now: float) -> int:
        """In how many seconds the caller is to come that would be served at `at`, but for those who were promised
        something before; that is promised, within bounds."""
        served_at = self.behind(model, at, interval_s, now)
        after_s = min(max(1, ceil(served_at - now - _ROUNDED_S)), _MOST_RETRY_S)
        self.make(model, caller, after_s, now, served_at)
        return after_s

    def make(self, model: str, caller: str, after_s: float, now: float, served_at: float | None = None) -> bool:
        """The caller is told to come back after that time, and has its turn then, or at `served_at`: what is told is
        rounded. Returns whether that is a promise."""
        if self.of(model, caller) >= self._most_of_caller or self.count(now) >= self._most:
            return False
        due = now + after_s
        span = (due - _EARLY_S, due + _LATE_S + _LATE_SHARE * after_s, due if served_at is None else served_at)
        self.made.setdefault(model, {}).setdefault(caller, []).append(span)
        return True

    def take(self, model: str, caller: str, now: float) -> bool:
        """The caller is here. Whether it has a promise that is due; then that is used up."""
        spans = self.made.get(model, {}).get(caller, [])
        due = next((span for span in spans if span[0] <= now < span[1]), None)
        if due is None:
            return False
        spans.remove(due)
        self._tidy(model, caller)
        return True

    def of(self, model: str, caller: str) -> int:
        """How many that caller has."""
        return len(self.made.get(model, {}).get(caller, ()))

    def behind(self, model: str, at: float, interval_s: float, now: float) -> float:
        """When one more is served, which alone would be at `at`: each that is due before it takes a turn."""
        spans = [span for callers in self.made.get(model, {}).values() for span in callers]
        for turn_at in sorted(turn_at for _, until, turn_at in spans if until > now):
            if turn_at > at + interval_s / 2:  # as long as what turns take changes a little between two
                break
            at += interval_s
        return at

    def _prune(self, now: float) -> None:
        for model, callers in list(self.made.items()):
            for caller, spans in list(callers.items()):
                spans[:] = [span for span in spans if span[1] > now]
                self._tidy(model, caller)

    def _tidy(self, model: str, caller: str) -> None:
        callers = self.made[model]
        if not callers[caller]:
            del callers[caller]
        if not callers:
            del self.made[model]
