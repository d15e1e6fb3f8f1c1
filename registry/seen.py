"""How far a reader has read a board whose ids only grow, and whether it is still the same board. Pure.

A board that was set back to an earlier copy gives the same ids again, and whoever asks only for what comes after the
last id misses what is posted then. Not here: reading rows (local).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

__all__ = ["REMEMBERED", "Seen"]

REMEMBERED = 32  # rows whose contents are compared


class Seen:
    """The last id, and digests of the last rows. Rows may go (older adverts are tidied away); ids do not come twice."""

    def __init__(self) -> None:
        self.last_id = 0
        self.remembered_after = 0  # the digests of all rows seen with a higher id are held
        self._digests: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return f"Seen(last_id={self.last_id}, remembered={len(self._digests)})"

    def add(self, row_id: int, text: str) -> bool:
        """Take note of a row; False if it was known."""
        if row_id <= self.last_id:
            return False
        self.last_id = row_id
        self._digests[row_id] = _digest(text)
        if len(self._digests) > REMEMBERED:
            self.remembered_after = next(iter(self._digests))
            del self._digests[self.remembered_after]
        return True

    def fits(self, top: int, rows: Iterable[tuple[int, str]]) -> bool:
        """Are `rows`, all those after `remembered_after`, of the board seen so far? `top` is the highest id ever given.

        A row that was seen may be gone, but none may stand in its place. If all that are remembered are gone and
        there were others before them, that cannot be told, and the answer is no.
        """
        known = [(row_id, text) for row_id, text in rows if self.remembered_after < row_id <= self.last_id]
        if top < self.last_id or any(self._digests.get(row_id) != _digest(text) for row_id, text in known):
            return False
        return bool(known) or self.remembered_after == 0


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
