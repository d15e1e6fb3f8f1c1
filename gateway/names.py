"""Which names mean something now, and when each other one last did: what is away is told from what never was.

Pure, and never larger than what is offered now plus a bound. Not here: what a name means (directory).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

MEMORY_S = 86_400
KEPT = 100_000


class Names:
    """Counts the offers behind each name that is in use, and remembers names out of use for a day."""

    def __init__(self, seen: Mapping[str, float] | None = None) -> None:
        self._used: dict[str, int] = {}
        self._seen: dict[str, float] = {}  # oldest first
        self._labels: dict[str, dict[str, None]] = {}  # of what is in `_seen`: those with an @, by what stands before
        for name, at in sorted((seen or {}).items(), key=lambda item: item[1]):
            self._remember(name, at)

    def __repr__(self) -> str:
        return f"<Names used={len(self._used)} seen={len(self._seen)}>"

    def use(self, names: Iterable[str]) -> None:
        """One more offer goes by these names."""
        for name in names:
            self._used[name] = self._used.get(name, 0) + 1

    def leave(self, names: Iterable[str], now: float) -> None:
        """One offer less."""
        for name in names:
            self._used[name] -= 1
            if not self._used[name]:
                del self._used[name]
                self._remember(name, now)

    def was_seen(self, name: str, now: float) -> bool:
        """Was it valid within the last day?"""
        return now - self._seen.get(name, 0.0) < MEMORY_S

    def was_seen_longer(self, name: str, now: float) -> bool:
        """Was a name with an @ valid within the last day that begins with this one?"""
        labels = self._labels.get(name.partition("@")[0], {})
        return any(label.startswith(name) and self.was_seen(label, now) for label in labels)

    def seen(self, now: float) -> dict[str, float]:
        """When each name was last valid, newest last; what is in use is so now. Bounded."""
        current = dict.fromkeys(islice(self._used, KEPT), now)
        past = islice(reversed(self._seen.items()), KEPT - len(current))
        kept = [(name, at) for name, at in past if now - at < MEMORY_S and name not in self._used]
        return dict(reversed(kept)) | current

    def inherit(self, before: Names, now: float) -> Iterator[None]:
        """Remember what `before` knew and is out of use here, step by step."""
        for name, at in list(before._seen.items()):
            if name not in self._used:
                self._remember(name, at)
            yield
        for name in list(before._used):
            if name not in self._used:
                self._remember(name, now)
            yield

    def _remember(self, name: str, at: float) -> None:
        self._forget(name)
        self._seen[name] = at
        if "@" in name:
            self._labels.setdefault(name.partition("@")[0], {})[name] = None
        while len(self._seen) > KEPT or at - next(iter(self._seen.values())) > MEMORY_S:
            self._forget(next(iter(self._seen)))

    def _forget(self, name: str) -> None:
        if self._seen.pop(name, None) is None or "@" not in name:
            return
        base = name.partition("@")[0]
        del self._labels[base][name]
        if not self._labels[base]:
            del self._labels[base]
