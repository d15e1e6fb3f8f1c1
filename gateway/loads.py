"""Pure: how many requests are with which node, which ones said that more wait there than run, and whose turn it is.

Not here: who is asked first (balance), and who waits for room (admission).
"""

from __future__ import annotations

from itertools import count
from typing import TypeVar

_SAID_S = 1.0  # others' requests, which make a node full, end unseen
_K = TypeVar("_K")


def room(slots: int) -> int:
    """Requests that a node with so many slots is sent at most: a few more, so that no slot idles between two."""
    return slots + max(1, slots // 4)


class Loads:
    """By node key, and by model. Every `begin` has its `end`."""

    def __init__(self) -> None:
        self._of_node: dict[str, int] = {}
        self._of_model: dict[tuple[str, str], int] = {}
        self._full_until: dict[tuple[str, str], float] = {}
        self._last_turn: dict[str, int] = {}
        self._turns = count(1)

    def __repr__(self) -> str:
        return f"<Loads in_flight={self.total}>"

    def __len__(self) -> int:
        """Nodes whose turn is known."""
        return len(self._last_turn)

    @property
    def total(self) -> int:
        return sum(self._of_node.values())

    def of(self, node: str, model: str) -> int:
        """Requests for that model which are there now."""
        return self._of_model.get((node, model), 0)

    def of_node(self, node: str) -> int:
        """Requests for all of its models."""
        return self._of_node.get(node, 0)

    def is_full(self, node: str, model: str, now: float) -> bool:
        """Did it say just now that requests wait for that model?"""
        return bool(self._full_until) and self._full_until.get((node, model), 0.0) > now

    def said(self, node: str, model: str, waiting: int, now: float) -> None:
        """An answer said how many wait there, whoever sent them. It counts for a second, or until one of ours ends."""
        if waiting > 0 and self.of(node, model):
            self._full_until[node, model] = now + _SAID_S
        else:
            self._full_until.pop((node, model), None)

    def last_turn(self, node: str) -> int:
        """Greater for one that was asked later; 0 for one that never was, or was forgotten."""
        return self._last_turn.get(node, 0)

    def begin(self, node: str, model: str) -> None:
        """A request is sent there; `end` follows."""
        self._last_turn.pop(node, None)
        self._last_turn[node] = next(self._turns)
        key = node, model
        self._of_node[node] = self._of_node.get(node, 0) + 1
        self._of_model[key] = self._of_model.get(key, 0) + 1

    def end(self, node: str, model: str) -> None:
        """It is there no longer."""
        _less(self._of_node, node)
        _less(self._of_model, (node, model))
        if self._full_until:
            self._full_until.pop((node, model), None)

    def beyond(self, most: int) -> str | None:
        """The node that was asked the longest ago, where there are more than `most`."""
        return next(iter(self._last_turn)) if len(self._last_turn) > most else None

    def forget(self, node: str) -> None:
        """Its turn; what runs there is still counted."""
        self._last_turn.pop(node, None)


def _less(counts: dict[_K, int], key: _K) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
