"""A line and where its payload goes: nowhere, to whoever holds it, or to a sink that may be full.

Not here: what the payload is (upstream), and who asked for it (source).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from relay.wire.flow import Sink
from relay.wire.line import Line
from relay.wire.phase import Phase
from relay.wire.watch import Watch


def nowhere(_: bytes) -> None:
    """For `Channel.take` while no answer is expected."""


class Channel(Line):
    """Whoever receives payload gives it to `take`."""

    __slots__ = ("_gap_s", "_taking_s", "phase", "take")

    def __init__(self, watch: Watch, limit_s: float) -> None:
        super().__init__(watch, limit_s)
        self.phase = Phase.IDLE
        self.take: Callable[[bytes], None] = nowhere
        self._gap_s = self._taking_s = inf  # as long as no sink says otherwise

    def splice(self, sink: Sink, gap_s: float) -> None:
        """It goes to the sink, which says when it is full."""
        self._gap_s = gap_s
        self._taking_s = sink.taking_s
        self.wait(gap_s)
        self.take = sink.write
        sink.on_full = self._full
        sink.on_room = self._room

    def hasten(self, gap_s: float) -> None:
        """What still comes for the sink has to come sooner."""
        self._gap_s = min(gap_s, self._gap_s)
        if self.phase is Phase.BODY:
            self.wait(self._gap_s)

    def unsplice(self, hold: Callable[[bytes], None]) -> None:
        """It is held again."""
        self._room()
        self.rest()
        self.take = hold

    def _full(self) -> None:
        if self.phase is Phase.BODY:
            self.phase = Phase.FULL
            self.pause()
            self.wait(self._taking_s)

    def _room(self) -> None:
        if self.phase is Phase.FULL:
            self.phase = Phase.BODY
            self.wait(self._gap_s)
            self.resume()
