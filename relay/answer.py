"""What came back for a call: from an upstream, or made by the node that answers it.

Whatever its source, `first` is at hand; `pieces` gives it and what follows, and `flow` sends both to a sink. Not here:
asking (stream), carrying it to the client (stream), and connections (wire).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from math import inf
from types import TracebackType
from typing import Protocol, Self

from relay.errors import BadUpstream, Reset
from relay.limits import Limits
from relay.wire.flow import Sink, Source

EVENT_STREAM = "text/event-stream"
_PASSED_BACK = ("Content-Type", "Content-Language", "Cache-Control")
_ERROR_BODY_LIMIT_BYTES = 256 * 1024
_HELD_BYTES = 1024 * 1024  # of an answer that is not a stream: so long another upstream can still be asked


class Answer(Protocol):
    """An answer whose head and first bytes are there. Leaving its context gives back what it holds."""

    first: bytes

    @property
    def status(self) -> int: ...

    @property
    def streamed(self) -> bool:
        """Whether more may follow `first`."""
        ...

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, where that is known."""
        ...

    @property
    def quiet_s(self) -> float:
        """For so long comments alone are a sign of life."""
        ...

    def headers(self) -> dict[str, str]:
        """The few that pass on."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The bytes in the order they came, `first` included. Raises ApiError where they break off."""
        ...

    async def flow(self, sink: Sink) -> None:
        """The same bytes to a sink, as they come; returns at their end. Raises as `pieces` does.

        And ConnectionError where the client takes nothing.
        """
        ...

    def close(self) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Closing:
    """Closes at the end of its context."""

    def close(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Relayed(_Closing):
    """An upstream's answer. Closing it closes the connection, unless all was read: then it is pooled again already."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._ended = False
        self.first = b""

    def __repr__(self) -> str:
        return f"<Relayed {self.status} {'ended' if self._ended else 'open'}>"

    @property
    def status(self) -> int:
        return self._source.status

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def streamed(self) -> bool:
        return not self._ended

    @property
    def length(self) -> int | None:
        return self._source.length

    @property
    def quiet_s(self) -> float:
        return self._limits.gap_s

    @property
    def media_type(self) -> str:
        """Lower case, without parameters."""
        return self._source.content_type

    def header(self, name: str) -> str | None:
        return self._source.headers.get(name)

    def headers(self) -> dict[str, str]:
        """Only the named headers come back."""
        given, found = self._source.headers, {}
        for name in _PASSED_BACK:
            value = given.get(name)
            if value is not None:
                found[name] = value
        return found

    def check_plain(self) -> None:
        """Raises BadUpstream for compressed bytes: the header that says so does not pass on."""
        if self.header("Content-Encoding") not in (None, "identity"):
            raise BadUpstream("The upstream compressed its answer, unasked.", code="upstream_encoding")

    async def begin(self, flows: bool) -> None:
        """Read the first bytes of a stream, or the whole of anything else that is not large.

        Raises Reset, BadUpstream or UpstreamTimeout.
        """
        if not self.ok:
            await self.whole(_ERROR_BODY_LIMIT_BYTES)
            return
        self.check_plain()
        if not flows and self.media_type != EVENT_STREAM:
            await self._read(_HELD_BYTES)
            return
        self.first = await self._next(self._limits.head_s)
        if not self.first:
            raise Reset("The upstream's stream ended before it began.", code="upstream_broken")

    async def more(self, limit_s: float) -> bool:
        """Wait for more to stand in `first`; whether there was more. Raises as `pieces` does."""
        piece = await self._next(limit_s)
        self.first += piece
        return bool(piece)

    async def whole(self, limit_bytes: int) -> bytes:
        """All of the body, for those who must read it. Raises BadUpstream for a longer one, and as `pieces` does."""
        await self._read(limit_bytes)
        if len(self.first) > limit_bytes:
            raise BadUpstream("The upstream's answer is too large.", code="upstream_too_large")
        return self.first

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes in the order they came. Raises Reset or UpstreamTimeout where they break off."""
        if self.first:
            yield self.first
        while not self._ended and (piece := await self._next(self._limits.gap_s)):
            yield piece

    async def flow(self, sink: Sink) -> None:
        if self.first:
            sink.write(self.first)
        if not self._ended:
            await self._source.flow(sink, self._limits.gap_s)
            self._ended = True

    def hasten(self, gap_s: float) -> None:
        """While it flows: the rest of it has to come sooner."""
        self._source.hasten(gap_s)

    def close(self) -> None:
        self._source.close()

    async def _read(self, limit_bytes: int) -> None:
        source, gap_s = self._source, self._limits.gap_s
        read, size = [self.first] if self.first else [], len(self.first)
        while size <= limit_bytes and not source.ended and (piece := await source.next(gap_s)):
            read.append(piece)
            size += len(piece)
        self.first = b"".join(read)
        self._ended = source.ended

    async def _next(self, limit_s: float) -> bytes:
        """The next bytes, empty at the end: only then has a stream ended."""
        piece = await self._source.next(limit_s)
        self._ended = not piece
        return piece


class Made(_Closing):
    """An answer that the node itself makes: `first`, and what `rest` gives, if more follows."""

    status = 200
    quiet_s = inf  # it is made here

    def __init__(
        self, first: bytes, content_type: str = "application/json", rest: AsyncIterator[bytes] | None = None
    ) -> None:
        self.first = first
        self._content_type = content_type
        self._rest = rest

    def __repr__(self) -> str:
        return f"<Made {self._content_type} first={len(self.first)}>"

    @property
    def streamed(self) -> bool:
        return self._rest is not None

    @property
    def length(self) -> int | None:
        return len(self.first) if self._rest is None else None

    def headers(self) -> dict[str, str]:
        return {"Content-Type": self._content_type}

    async def pieces(self) -> AsyncIterator[bytes]:
        if self.first:
            yield self.first
        if self._rest is not None:
            async for piece in self._rest:
                yield piece

    async def flow(self, sink: Sink) -> None:
        async for piece in self.pieces():
            sink.write(piece)
            await sink.room()

    def close(self) -> None:
        """Nothing is held but by `rest`, which is closed where it was opened."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._rest, AsyncGenerator):
            await self._rest.aclose()
