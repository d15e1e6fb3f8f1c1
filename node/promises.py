"""Who was refused and told when to come back: whoever does is let in before those who were not. Pure.

A promise is its caller's, not one request's, so that nothing has to be shown for it. Not here: when that is (estimate).
"""

from __future__ import annotations

from collections import deque

from node.turns import Share

_GOOD_FOR_S = 30.0  # after its time
_EARLY_S = 0.1  # by so much two clocks may differ over a wait


class Promises:
    """Of one engine, by share. Times in seconds, on one clock."""

    def __init__(self) -> None:
        self._due: dict[Share, deque[float]] = {}

    def __repr__(self) -> str:
        return f"<Promises {sum(map(len, self._due.values()))} to {len(self._due)}>"

    def standing(self, now: float) -> int:
        """How many may still be redeemed; what is over is forgotten."""
        for share in [share for share, due in self._due.items() if due[0] + _GOOD_FOR_S < now]:
            due = self._due[share]
            while due and due[0] + _GOOD_FOR_S < now:
                due.popleft()
            if not due:
                del self._due[share]
        return sum(map(len, self._due.values()))

    def make(self, share: Share, due: float, each: int, most: int, now: float) -> bool:
        """Promise it, unless this caller has `each` already, or all have `most`."""
        if self.standing(now) >= most or len(self._due.get(share, ())) >= each:
            return False
        kept = self._due.setdefault(share, deque())
        kept.append(due)
        if len(kept) > 1 and kept[-2] > due:  # the later one's wait is shorter
            self._due[share] = deque(sorted(kept))
        return True

    def redeem(self, share: Share, now: float) -> float | None:
        """When this caller was told to come back, if it has; a promise counts once."""
        if not self._due:
            return None
        self.standing(now)
        due = self._due.get(share)
        if due is None or due[0] - _EARLY_S > now:
            return None
        first = due.popleft()
        if not due:
            del self._due[share]
        return first
