"""Which nodes have to be looked at again: those that a posting touched, and those whose advert ends.

Pure bookkeeping; what is believed of them is for trust to say.
"""

from __future__ import annotations

import heapq

from registry.verdict import Key

__all__ = ["Changes"]

_SLACK = 1000  # entries of the heap that may be out of date, beside as many as there are nodes


class Changes:
    """Keys of nodes to look at again. Each is given out once, until it is marked or ends again."""

    def __init__(self) -> None:
        self._marked: dict[Key, None] = {}
        self._ends: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def __repr__(self) -> str:
        return f"Changes(marked={len(self._marked)}, ending={len(self._ends)})"

    def mark(self, key: Key) -> None:
        """A posting touched it."""
        self._marked[key] = None

    def ends(self, key: Key, at: float | None) -> None:
        """What is believed of it ends then; None: nothing is believed of it."""
        if at is None:
            self._ends.pop(key, None)
        elif self._ends.get(key) != at:
            self._ends[key] = at
            heapq.heappush(self._heap, (at, key))
            if len(self._heap) > 2 * len(self._ends) + _SLACK:
                self._heap = [(end, each) for each, end in self._ends.items()]
                heapq.heapify(self._heap)

    def take(self, now: float) -> Key | None:
        """The next one to look at, None if there is none now."""
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._ends.get(key) == at:
                self._marked[key] = None
                del self._ends[key]
        return self._marked.popitem()[0] if self._marked else None

    def clear(self) -> None:
        """All will be looked at."""
        self._marked.clear()
