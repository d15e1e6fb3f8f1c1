"""Measures one fetch, and tells everybody who waits for it. Its owner passes the time.

Not here: showing it (bar).
"""

from __future__ import annotations

from collections import deque

from node.store.progress import Progress

_WINDOW_S = 5.0


class Meter:
    """`progress` is the fetch's own; those that watch are made equal to it, but for their names."""

    def __init__(self, name: str) -> None:
        self.progress = Progress(name)
        self._watching: list[Progress] = []
        self._samples: deque[tuple[float, int]] = deque()

    def join(self, progress: Progress) -> None:
        self._watching.append(progress)
        self._tell()

    def leave(self, progress: Progress) -> None:
        self._watching = [each for each in self._watching if each is not progress]

    @property
    def watched(self) -> bool:
        return bool(self._watching)

    @property
    def remaining(self) -> int:
        """Bytes still to come, as far as is known."""
        return max(0, (self.progress.total or 0) - self.progress.done)

    def set(self, done: int, total: int | None) -> None:
        """Bytes of all files together."""
        self.progress.done, self.progress.total = done, total
        self._tell()

    def tick(self, now: float) -> None:
        """Sample the speed; `now` in seconds of a clock that never goes back."""
        done = self.progress.done
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()  # from the first byte again
        self._samples.append((now, done))
        while now - self._samples[0][0] > _WINDOW_S and len(self._samples) > 2:
            self._samples.popleft()
        since, before = self._samples[0]
        self.progress.per_s = (done - before) / (now - since) if now > since else 0.0
        self._tell()

    def _tell(self) -> None:
        mine = self.progress
        for each in self._watching:
            each.done, each.total, each.per_s = mine.done, mine.total, mine.per_s
