"""Sinks before another one: they see each piece on its way.

Not here: what is done with what is seen.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.wire.flow import Sink


class Before:
    """All of a sink but `write`, which has to call `_write`: one object and one call less for each token."""

    __slots__ = ("_sink", "_write")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._write = sink.write

    @property
    def taking_s(self) -> float:
        return self._sink.taking_s

    async def room(self) -> None:
        await self._sink.room()

    @property
    def on_full(self) -> Callable[[], None]:
        return self._sink.on_full

    @on_full.setter
    def on_full(self, call: Callable[[], None]) -> None:
        self._sink.on_full = call

    @property
    def on_room(self) -> Callable[[], None]:
        return self._sink.on_room

    @on_room.setter
    def on_room(self, call: Callable[[], None]) -> None:
        self._sink.on_room = call


class Through(Before):
    """`see` is called with each piece before it goes to `sink`."""

    __slots__ = ("_see",)

    def __init__(self, sink: Sink, see: Callable[[bytes], None]) -> None:
        super().__init__(sink)
        self._see = see

    def write(self, piece: bytes) -> None:
        see, write = self._see, self._write  # cheaper than to call the slots
        see(piece)
        write(piece)
