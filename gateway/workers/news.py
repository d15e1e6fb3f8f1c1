"""Who wants to know at once of which nodes something else holds now. What holds, they read for themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from registry.trust import Key

__all__ = ["Listener", "News"]


class Listener(Protocol):
    """Nothing of it may wait."""

    def mark(self, keys: Iterable[Key], *, gone: bool) -> None:
        """Something else holds of these; nothing is believed of them any more if they are `gone`."""

    def replaced(self) -> None:
        """Another directory is in force. What it changed is marked by now."""

    def wake(self) -> None:
        """All that came together is marked by now."""


class News:
    """Passes on to its `listeners`. Without any it costs nothing."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()

    def __repr__(self) -> str:
        return f"<News listeners={len(self.listeners)}>"

    def changed(self, keys: Iterable[Key], gone: bool = False) -> None:
        """Of these nodes."""
        for listener in self.listeners:
            listener.mark(keys, gone=gone)

    def applied(self, replaced: bool) -> None:
        """A round of changes is over."""
        for listener in self.listeners:
            if replaced:
                listener.replaced()
            else:
                listener.wake()
