"""A head that is known by its bytes: an SDK sends the same one with each request, but for the length of the body.

Where all else is the same byte for byte, the parser would find what it found before. So that nothing can be smuggled,
a head is known only if its end and its one length stand in it plainly: every line ends with CRLF and is one field.

Pure. Not here: when the parser may be passed by (requests).
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self

from relay.wire.heads import Headers
from relay.wire.routes import Found

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)(?=\r\n)", re.IGNORECASE)
_MOST_DIGITS = 9
_MOST_BYTES = 4096  # one is kept for each connection


class Head(NamedTuple):
    """What the parser made of a head. `fields` is how many there were; `plain`: the message ends with its head, or so
    many bytes later as its Content-Length says. `found` is None where the application answers."""

    plain: bool
    fields: int
    found: Found | None
    method: str
    version: str
    headers: Headers

    def end_in(self, data: bytes) -> int | None:
        """Where it ends in the data that begins with it; None where its lines do not show that."""
        end = data.find(_END) + len(_END)
        lines = self.fields + 2  # the first line, and the empty one
        good = data.count(b"\r\n", 0, end) == data.count(b"\n", 0, end) == data.count(b"\r", 0, end) == lines
        return end if good and self.plain else None


class Known:
    """A head that `found` answers. `headers` are those of the request that was read last."""

    __slots__ = ("_after", "_before", "_digits", "found", "headers", "method", "version")

    def __init__(self, before: bytes, digits: bytes, after: bytes, found: Found, head: Head) -> None:
        self._before = before
        self._digits = digits
        self._after = after
        self.found = found
        self.method = head.method
        self.version = head.version
        self.headers = head.headers

    def __repr__(self) -> str:
        return f"<Known {self.method} {self.found.template} {len(self.headers)} headers>"

    @classmethod
    def of(cls, raw: bytes, head: Head) -> Self | None:
        """None where it is too long to be kept, doesn't plainly say how long its body is, or is the application's."""
        lengths = list(_LENGTH.finditer(raw)) if len(raw) <= _MOST_BYTES else []
        if head.found is None or len(lengths) != 1 or len(head.headers.getall("Content-Length", ())) != 1:
            return None
        start, end = lengths[0].span(1)
        return cls(raw[:start], raw[start:end], raw[end:], head.found, head)

    def read(self, data: bytes) -> tuple[int, int] | None:
        """Where the body begins in data that begins with this head, and its length; None for any other data."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        end = data.find(b"\r", len(before), len(before) + _MOST_DIGITS + 1)
        digits = data[len(before) : end]
        if end < 0 or not digits.isdigit() or not data.startswith(after, end):
            return None
        if digits != self._digits:
            self._digits = digits
            self.headers = self.headers.copy()
            self.headers["Content-Length"] = digits.decode("ascii")
        return end + len(after), int(digits)
