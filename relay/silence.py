"""Events that only keep a connection open, as comments and pings do: how long nothing else has come.

Not here: what ends a stream (events), and silence on the wire itself (wire.watch).
"""

from __future__ import annotations

import re
import time

from relay.errors import UpstreamTimeout

STARTS = (b":", b"event: ping", b"event:ping", b"\n", b"\r")  # of a piece that may tell nothing
_LINES = re.compile(rb'(?:(?::[^\r\n]*|event: ?ping|data: ?\{ ?"type": ?"ping" ?\}|)\r?\n)*')
_PINGS = (b"event: ping\r", b"event:ping\r", b'data: {"type": "ping"}\r', b'data: {"type":"ping"}\r', b"\r")


class Silence:
    """Of one stream. `open`: what comes next has to be shown to `hear`, whatever it begins with."""

    __slots__ = ("_limit_s", "_line", "_since", "open")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since = 0.0
        self._line = b""  # its beginning, where it may still become one that tells nothing
        self.open = False

    def __repr__(self) -> str:
        return f"<Silence {'open' if self.open else 'broken'}>"

    def hear(self, piece: bytes) -> None:
        """A piece that begins with one of STARTS, or follows such a one. Raises UpstreamTimeout after the limit."""
        heard = self._line + piece
        told = _LINES.match(heard)
        assert told is not None
        rest = heard[told.end() :]
        now = time.monotonic()
        if rest.startswith(b":") and b"\n" not in rest:
            self._line = b":"
        elif not rest or any(ping.startswith(rest) for ping in _PINGS):
            self._line = rest
        else:
            self._line, self.open = b"", False
            return
        self._since = self._since if self.open else now
        self.open = True
        if now - self._since > self._limit_s:
            raise nothing_else()


def nothing_else() -> UpstreamTimeout:
    """What is told of a stream that only kept its connection open."""
    return UpstreamTimeout("The upstream gave signs of life, and nothing else.", code="gap_timeout")
