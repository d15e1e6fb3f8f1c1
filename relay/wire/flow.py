"""The two ends of the hot path: where an upstream's bytes come from, and where they go.

A piece of a stream goes from the upstream's transport straight to `Sink.write`, with no coroutine in between: a sink
that is full says so by a callback. Not here: who implements them (source, inbound).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


def unheeded() -> None:
    """For `Sink.on_full` and `Sink.on_room` while nobody splices."""


class Sink(Protocol):
    """Takes the payload of an answer, framing is its own. A client that has left is no error of `write`."""

    on_full: Callable[[], None]  # called as its transport is full; more may be written all the same
    on_room: Callable[[], None]  # called as it has room again

    @property
    def taking_s(self) -> float:
        """For so long it may stay full."""
        ...

    def write(self, piece: bytes) -> None:
        """At once, and never an empty piece. May raise ApiError: the answer breaks off with that."""
        ...

    async def room(self) -> None:
        """Until the client takes bytes again, at once if it does. Raises ConnectionError where it takes none."""
        ...


class Headers(Protocol):
    """Header fields, of whatever case."""

    def get(self, name: str, /) -> str | None: ...


class Source(Protocol):
    """An upstream's answer, whose head is there. One reader at a time."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def content_type(self) -> str:
        """Lower case, without parameters; "application/octet-stream" where there is none."""
        ...

    @property
    def length(self) -> int | None:
        """The body's, in bytes, where its head says."""
        ...

    @property
    def ended(self) -> bool:
        """Whether all has come and been read."""
        ...

    async def next(self, limit_s: float) -> bytes:
        """The next bytes, empty at the end.

        Raises Reset or BadUpstream where the answer breaks off, UpstreamTimeout after `limit_s` of silence.
        """
        ...

    async def flow(self, sink: Sink, gap_s: float) -> None:
        """Let all that still comes go to the sink; returns at its end. The sink's own end is the caller's.

        Raises as `next` does, and ConnectionAbortedError where the sink stays full.
        """
        ...

    def hasten(self, gap_s: float) -> None:
        """While it flows: from now on the silence may last no longer than this, if it might have."""
        ...

    def close(self) -> None:
        """Closes the connection of an answer that was not read to its end; no more than that, and at any time."""
        ...
