"""The connections to all upstreams: kept ones are used again, the last used first, and others are made.

Not here: making one (dialer), and what is said on it (upstream).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

from aiohttp.abc import AbstractResolver

from relay.errors import ConnectFailed, Reset
from relay.limits import Limits
from relay.wire.dialer import Dialer
from relay.wire.flow import Source
from relay.wire.origin import Origin
from relay.wire.phase import Phase
from relay.wire.upstream import Upstream
from relay.wire.watch import Watch


class Upstreams:
    """Sends requests. One in a process, made once: it reads the certificates of the web's authorities.

    `resolver` is asked for each new connection. `web` stands in for those authorities.
    """

    def __init__(self, resolver: AbstractResolver | None, watch: Watch, web: ssl.SSLContext | None = None) -> None:
        self._dialer = Dialer(resolver, web)
        self._watch = watch
        self._shelves: dict[Origin, _Shelf] = {}
        self._closed = False

    def __repr__(self) -> str:
        kept = sum(len(shelf.kept) for shelf in self._shelves.values())
        lines = sum(len(shelf.lines) for shelf in self._shelves.values())
        return f"<Upstreams {lines - kept} busy, {kept} kept>"

    async def send(
        self, origin: Origin, head: bytes, body: bytes | AsyncIterator[bytes], limits: Limits, *, may_repeat: bool
    ) -> Source:
        """Send a request whose `head` is written out, to its empty line; the answer once the head of that is there.

        A kept connection that turns out closed before a byte of the answer came is replaced by a new one and the
        request sent again, once, if it `may_repeat`. A body in pieces can be sent only once: it gets a new one anyway.
        Raises ConnectFailed, Reset, UpstreamTimeout, BadUpstream, and what `body` raises.
        """
        shelf = self._shelves.get(origin)
        if shelf is not None and shelf.kept and isinstance(body, bytes):
            line = shelf.kept.pop()
            try:
                return await line.ask(head, body, limits)
            except Reset:
                if not may_repeat or line.touched:
                    raise
        line = await self._connected(origin, limits.connect_s)
        return await line.ask(head, body, limits)

    def close(self) -> None:
        """Close all connections, whatever goes on. What is asked for later fails."""
        self._closed = True
        for shelf in tuple(self._shelves.values()):
            for line in tuple(shelf.lines):
                line.close()

    async def _connected(self, origin: Origin, limit_s: float) -> Upstream:
        line = await self._dialer.dial(origin, lambda: Upstream(self._watch), limit_s)
        if self._closed:
            line.drop()
            raise ConnectFailed("The upstream could not be reached: this server ends.", code="connect_failed")
        if line.phase is Phase.CLOSED:
            return line  # closed as soon as it was made, as whoever asks will find out
        shelf = self._shelves.get(origin)
        if shelf is None:
            shelf = self._shelves[origin] = _Shelf(origin, self._shelves)
        shelf.put(line)
        return line


class _Shelf:
    """The connections to one origin; there for as long as there is one. The last of `kept` was used last."""

    __slots__ = ("_origin", "_shelves", "kept", "lines")

    def __init__(self, origin: Origin, shelves: dict[Origin, _Shelf]) -> None:
        self.lines: set[Upstream] = set()
        self.kept: list[Upstream] = []
        self._origin = origin
        self._shelves = shelves

    def put(self, line: Upstream) -> None:
        self.lines.add(line)
        line.on_rest = self._rest
        line.on_lost = self._lost

    def _rest(self, line: Upstream) -> None:
        if self._origin.keep:
            self.kept.append(line)
        else:
            line.drop()

    def _lost(self, line: Upstream) -> None:
        self.lines.discard(line)
        if line in self.kept:
            self.kept.remove(line)
        if not self.lines:
            self._shelves.pop(self._origin, None)
