"""Event streams as each API writes them: what a whole one ends with, and how an error stands in it.

Not here: carrying the bytes (stream).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import orjson

from relay.errors import ApiError
from relay.silence import STARTS, Silence
from relay.wire.flow import Sink
from relay.wire.through import Before

_LF = 0x0A
_WINDOW_BYTES = 64  # longer than any mark, so that one which comes in two pieces is seen


@dataclass(frozen=True)
class Dialect:
    """`end` is found near the end of a whole stream, at the start of a line, and nowhere in a broken one: JSON writes
    a line's end as `\\n`. None: the connection alone says whether the stream is whole. `hint` stands in each `end`."""

    end: re.Pattern[bytes] | None
    hint: bytes
    error: Callable[[ApiError], bytes]


class Ending(Before):
    """A sink before the client's that watches a stream for its end. Once it is `whole`, `tail` are its last pieces:
    what an engine says at the end is in them.

    `quiet_s`: for so long comments and pings alone count as a sign of life; `write` raises UpstreamTimeout after that.
    """

    __slots__ = ("_hint", "_inside", "_last", "_mark", "_silence", "_window", "tail", "whole")

    def __init__(self, dialect: Dialect, sink: Sink, quiet_s: float = inf) -> None:
        super().__init__(sink)
        self._silence = Silence(quiet_s)
        self._mark = dialect.end
        self._hint = dialect.hint
        self._window = b""
        self._last = b""
        self._inside = False  # the last piece ended within a line: a mark may be in two pieces
        self.whole = dialect.end is None
        self.tail = b""

    def __repr__(self) -> str:
        return f"<Ending {'whole' if self.whole else 'open'}>"

    def write(self, piece: bytes) -> None:
        """The stream's next bytes, never empty: what is done here is done for each token of each stream."""
        if self._inside or piece[-1] != _LF or self._hint in piece:
            self._look(piece)
        if piece.startswith(STARTS) or self._silence.open:
            self._silence.hear(piece)
        self._last = piece
        write = self._write  # cheaper than to call the slot
        write(piece)

    def _look(self, piece: bytes) -> None:
        if self._mark is None or self.whole:
            return
        seen = self._window + piece if self._inside else b"\n" + piece
        self.whole = self._mark.search(seen) is not None
        if self.whole:
            self.tail = self._last + piece
        self._inside = piece[-1] != _LF
        self._window = seen[-_WINDOW_BYTES:]


def _openai(error: ApiError) -> bytes:
    return b"data: " + error.body() + b"\n\n"


def _typed(error: ApiError) -> bytes:
    """As the Responses API, speech and pictures say it."""
    event = {"type": "error", "code": error.code, "message": error.message, "param": error.param, "sequence_number": 0}
    return b"event: error\ndata: " + orjson.dumps(event | error.envelope()) + b"\n\n"


def _messages(error: ApiError) -> bytes:
    event = {"type": "error", "error": {"type": "api_error", "message": error.message}}
    return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"


CHAT_EVENTS = Dialect(re.compile(rb"[\r\n]data: ?\[DONE\]"), b"[DONE]", _openai)
RESPONSE_EVENTS = Dialect(re.compile(rb"[\r\n]event: ?response\.(completed|incomplete|failed)"), b"event:", _typed)
MESSAGE_EVENTS = Dialect(re.compile(rb"[\r\n]event: ?message_stop"), b"message_stop", _messages)
OTHER_EVENTS = Dialect(None, b"", _typed)
