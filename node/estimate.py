"""How long an engine's slots are held, as measured, and when one may be free. Pure.

Not here: who waits (turns), and what is answered to whom (pool).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

_PRIOR_S = 5.0  # before anything is measured: a short chat on a small machine
_SMOOTH = 0.2  # weight of the newest in the mean


class Estimate:
    """Moving means of the seconds for which a slot is held, and of how far off that is. `count` were measured."""

    def __init__(self) -> None:
        self.mean_s = _PRIOR_S
        self.spread_s = _PRIOR_S / 2
        self.count = 0

    def __repr__(self) -> str:
        return f"<Estimate {self.mean_s:.2f} s +- {self.spread_s:.2f} s of {self.count}>"

    def note(self, held_s: float, work: float, whole: bool) -> None:
        """A slot was held for so long. What broke off (not `whole`) says something only where it was long."""
        each_s = held_s / work
        if not whole and each_s <= self.mean_s:
            return
        self.count += 1
        if self.count == 1:
            self.mean_s, self.spread_s = each_s, each_s / 2
            return
        self.spread_s += _SMOOTH * (abs(each_s - self.mean_s) - self.spread_s)
        self.mean_s += _SMOOTH * (each_s - self.mean_s)

    def left_s(self, age_s: float, work: float) -> float:
        """For how long one goes on that has run for `age_s`: who is late already will be later."""
        whole_s = work * self.mean_s
        return whole_s - age_s if age_s < whole_s * 2 / 3 else age_s / 2


def free_in_s(slots: int, left: Iterable[tuple[int, float]], ahead: Iterable[tuple[int, float]], need: int) -> float:
    """Seconds until `need` of the slots are free for one more.

    `left` are those that run: their slots, and for how long they still do. `ahead` are those that go first, in their
    order: their slots, and for how long they will.
    """
    free = [0.0] * slots
    at = 0
    for taken, seconds in left:
        for _ in range(min(taken, slots - at)):
            free[at] = seconds
            at += 1
    for taken, seconds in ahead:
        free.sort()
        taken = min(taken, slots)
        end = free[taken - 1] + seconds
        free[:taken] = [end] * taken
    return sorted(free)[min(need, slots) - 1]


def retry_after_s(seconds: float, most_s: int) -> int:
    """As a header says it: whole seconds, at least 1."""
    return max(1, min(math.ceil(seconds), most_s))
