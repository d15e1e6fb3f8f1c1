"""Pure: whether bytes come fast enough to be waited for. Its owner passes the time.

Not here: silence (site), and how often a thing is tried again (patience).
"""

from __future__ import annotations

from node.store.limits import Limits
from node.store.patience import Broken


class Pace:
    """Of one answer, which begins at `now`, in seconds of a clock that never goes back."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._since = now
        self._count = 0

    def take(self, count: int, now: float) -> None:
        """So many bytes came. Raises Broken where they were too few for too long."""
        gap_s = self._limits.gap_s
        self._count += count
        if now - self._since < gap_s:
            return
        if self._count < least_bytes(self._limits):
            raise Broken(f"only {self._count} bytes within {gap_s:g} s")
        self._since, self._count = now, 0


def least_bytes(limits: Limits) -> int:
    """What has to come for a try to have brought something."""
    return int(limits.least_bytes_per_s * limits.gap_s)
