"""Event streams as each API writes them: what a whole one ends with, and how an error stands in it.

Not here: carrying the bytes (stream).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from relay.errors import ApiError

_WINDOW_BYTES = 64  # longer than any mark, so that one which comes in two pieces is seen


@dataclass(frozen=True)
class Dialect:
    """`end` is found near the end of a whole stream, at the start of a line, and nowhere in a broken one: JSON writes
    a line's end as `\\n`. None: the connection alone says whether the stream is whole."""

    end: re.Pattern[bytes] | None
    error: Callable[[ApiError], bytes]


class Ending:
    """Watches a stream for its end."""

    def __init__(self, dialect: Dialect) -> None:
        self._mark = dialect.end
        self._window = b"\n"
        self.whole = dialect.end is None

    def __repr__(self) -> str:
        return f"<Ending {'whole' if self.whole else 'open'}>"

    def feed(self, piece: bytes) -> None:
        """The stream's next bytes."""
        if self._mark is None or self.whole:
            return
        seen = self._window + piece
        self.whole = self._mark.search(seen) is not None
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


CHAT_EVENTS = Dialect(re.compile(rb"[\r\n]data: ?\[DONE\]"), _openai)
RESPONSE_EVENTS = Dialect(re.compile(rb"[\r\n]event: ?response\.(completed|incomplete|failed)"), _typed)
MESSAGE_EVENTS = Dialect(re.compile(rb"[\r\n]event: ?message_stop"), _messages)
OTHER_EVENTS = Dialect(None, _typed)
