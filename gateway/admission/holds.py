"""Pure: for how long requests for one model hold a slot, as measured; hence when the next slot is free."""

from __future__ import annotations

_WEIGHT = 0.05  # of one answer in the mean, once there are many
_LEAST_S = 0.001


class Holds:
    """Owns what is in flight of one model, as a number and as when it began. Looks at no clock."""

    __slots__ = ("_began_sum", "_mean_s", "_measured", "running")

    def __init__(self) -> None:
        self.running = 0
        self._began_sum = 0.0
        self._mean_s = 0.0
        self._measured = 0

    def __repr__(self) -> str:
        return f"<Holds running={self.running} mean={self._mean_s:.2f} s of {self._measured}>"

    def begin(self, now: float) -> None:
        """One more."""
        self.running += 1
        self._began_sum += now

    def end(self, began: float, now: float, *, well: bool) -> None:
        """That one is over. One that failed says nothing of how long an answer takes."""
        self.running -= 1
        self._began_sum = self._began_sum - began if self.running else 0.0
        if well:
            self._measured += 1
            self._mean_s += (now - began - self._mean_s) * max(_WEIGHT, 1 / self._measured)

    def held_s(self, now: float) -> float:
        """For how long one is held. While nothing was measured: twice as long as those that run have run so far."""
        age_s = now - self._began_sum / self.running if self.running else 0.0
        return max(self._mean_s if self._measured else 2 * age_s, age_s, _LEAST_S)

    def interval_s(self, slots: int, now: float) -> float:
        """From one slot falling free to the next, where so many are held."""
        return self.held_s(now) / max(1, slots)
