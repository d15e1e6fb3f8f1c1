"""Pure: how many retries a node may be sent, so that the failures of others are not what breaks it.

A retry is a request that has failed elsewhere, or waited. Each node has a bucket of them: what it answers well fills
it, and so does time, a little. Not here: which node is asked (search).
"""

from __future__ import annotations

_MOST = 32.0
_PER_S = 2.0
_PER_ANSWER = 0.2
_MOST_NODES = 10_000


class Retries:
    """Keeps only buckets that are not full: `nodes` is empty where nothing fails. Looks at no clock.

    Beyond `most_nodes` the one that was begun the longest ago is forgotten, and with that full again.
    """

    def __init__(self, most_nodes: int = _MOST_NODES) -> None:
        self.nodes: dict[str, tuple[float, float]] = {}  # what is left, and when that was so
        self._most_nodes = most_nodes

    def __repr__(self) -> str:
        return f"<Retries nodes={len(self.nodes)}>"

    def take(self, node: str, now: float) -> bool:
        """Whether one more retry may be sent there now; it is spent."""
        left = self._left(node, now)
        if left < 1:
            return False
        self.nodes[node] = (left - 1, now)
        if len(self.nodes) > self._most_nodes:
            del self.nodes[next(iter(self.nodes))]
        return True

    def answered(self, node: str, now: float) -> None:
        """The node answered well."""
        if node not in self.nodes:
            return
        left = self._left(node, now) + _PER_ANSWER
        if left < _MOST:
            self.nodes[node] = (left, now)
        else:
            del self.nodes[node]

    def forget(self, node: str) -> None:
        """That node is gone."""
        self.nodes.pop(node, None)

    def _left(self, node: str, now: float) -> float:
        left, since = self.nodes.get(node, (_MOST, now))
        return min(_MOST, left + max(0.0, now - since) * _PER_S)
