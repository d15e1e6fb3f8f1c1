"""Through a node's pages, oldest first, whatever it shows: which page to ask for next, and when to stop. Pure.

A page is found by the time of the last message seen, not by its number, since messages are added and forgotten
meanwhile. Only where times do not help (equal, unordered, missing) the page's number moves on.
Not here: asking (reader), believing (messages).
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["BARREN_PAGES", "JUNK_PAGES", "MAX_PAGES", "PAGE", "Endless", "Walk"]

PAGE = 200  # messages; each smaller size divides the larger ones
_SHRINK = 5
BARREN_PAGES = 20  # in a row without an honest message not shown before, whatever their times say
JUNK_PAGES = 200  # such pages altogether
MAX_PAGES = 20_000
_OVERLAP_S = 0.001  # nodes round times
_LATEST = 2.0**40


class Endless(Exception):
    """The host shows page after page and gets nowhere."""


class Walk:
    """Where a reader stands. Ask with `params`, then tell `advance` what came, or `shrink` after too large a page."""

    def __init__(self, start: float = 0.0) -> None:
        self._start = max(start, 0.0)
        self._offset = 0
        self._size = self._most = PAGE
        self._pages = 0
        self._barren = 0
        self._junk = 0

    def __repr__(self) -> str:
        return f"Walk(start={self._start}, offset={self._offset}, size={self._size}, pages={self._pages})"

    @property
    def params(self) -> dict[str, str]:
        page = self._offset // self._size + 1
        paging = {"sortOrder": "1", "pagination": str(self._size), "page": str(page)}
        return paging | ({"startDate": repr(self._start)} if self._start else {})

    def shrink(self) -> bool:
        """Ask for fewer at once; False if one message alone is too large."""
        if self._size == 1:
            return False
        self._size = max(self._size // _SHRINK, 1)
        self._offset -= self._offset % self._size
        return True

    def advance(self, times: Sequence[object], fresh: bool, per_page: object = None, familiar: bool = False) -> bool:
        """Take note of a page: its messages' times, whether one of them was new, the size that the host says.

        `familiar`: whether one that was known before this walk was shown for the first time. Only what is honest counts
        as getting on: a host can make up times without end. False at the end. Raises Endless.
        """
        self._pages += 1
        full = len(times) >= self._size
        if isinstance(per_page, int) and 0 < per_page < self._size:  # the host's own limit
            self._size = self._most = per_page
            full, self._offset = len(times) >= per_page, self._offset - self._offset % per_page
        if not times or not (fresh or full):
            return False
        self._move(times)
        self._barren = 0 if fresh or familiar else self._barren + 1
        self._junk += self._barren > 0
        if self._pages >= MAX_PAGES or self._barren >= BARREN_PAGES or self._junk >= JUNK_PAGES:
            raise Endless(f"shows page after page and comes to no end ({self._pages} pages)")
        return True

    def _move(self, times: Sequence[object]) -> None:
        numbers = [time for time in times if isinstance(time, float | int) and 0 <= time < _LATEST]
        ordered = len(numbers) == len(times) and numbers == sorted(numbers)
        if ordered and numbers[-1] - _OVERLAP_S > self._start:
            self._start, self._offset = numbers[-1] - _OVERLAP_S, 0
            self._size = min(self._size * _SHRINK, self._most)
        else:
            self._offset += self._size
