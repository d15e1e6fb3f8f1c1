"""What the bytes of one upstream connection mean: heads, payload, ends. Pure: no transport, no clock.

The grammar is llhttp's in its strict form, so bare LF, two lengths, a length beside chunks and the like are errors of
`feed`. Added here: how many fields a head may have, and what of them is refused. Extensions of chunks and trailers are
dropped. Not here: how many bytes may come before some of them are payload (upstream).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import httptools

HEAD_LIMIT_BYTES = 64 * 1024
HEAD_LIMIT_FIELDS = 256
MALFORMED = (httptools.HttpParserError, httptools.HttpParserUpgrade)  # what `feed` raises, and then the reading is over

_BODILESS = (204, 304)
_CODING = b"transfer-encoding"
_VERSIONS = ("1.1", "1.0")


class Refused(Exception):
    """Of a callback of the parser, which makes an error of its own of it."""


@lru_cache(maxsize=64)  # few names are ever asked for
def _key(name: str) -> bytes:
    return name.lower().encode()


class Fields:
    """Header fields under their names in lower case, decoded when asked for; of one given twice, the first."""

    __slots__ = ("_found",)

    def __init__(self, found: dict[bytes, bytes]) -> None:
        self._found = found

    def get(self, name: str) -> str | None:
        value = self._found.get(_key(name))
        return value.decode("utf-8", "surrogateescape").strip(" \t") if value is not None else None

    def size(self) -> int:
        """In bytes."""
        return sum(len(name) + len(value) + 4 for name, value in self._found.items())


NO_FIELDS = Fields({})


class Reading:
    """Answers, one after another, each asked for by `expect`.

    After each `feed`: `pieces` are the payload, for whoever fed to take and clear; `turned` says that a head became
    complete (`head`) or an answer did (`ended`), for whoever fed to put back to False.
    """

    __slots__ = (
        "_bodiless",
        "_count",
        "_lines",
        "_parser",
        "_waited",
        "begun",
        "ended",
        "feed",
        "fields",
        "head",
        "kept",
        "on_body",
        "pieces",
        "status",
        "surplus",
        "turned",
        "until_closed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append  # the parser's own call goes there without a frame of Python's
        self._waited = False
        self.expect(bodiless=False)
        self._waited = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.feed: Callable[[bytes], None] = self._parser.feed_data

    def __repr__(self) -> str:
        return f"<Reading {'ended' if self.ended else 'body' if self.head else 'head' if self._waited else 'at rest'}>"

    def expect(self, bodiless: bool) -> None:
        """An answer has been asked for; `bodiless` by HEAD."""
        self.status = 0
        self.begun = self.turned = self.head = self.ended = False
        self.kept = False  # whether the connection is good for another request, as far as this answer says
        self.surplus = False  # whether more came than was asked for
        self.until_closed = False  # whether the end of the connection is this answer's
        self._waited = True
        self._bodiless = bodiless
        self._count = 0  # of the fields, those of interim heads included
        self._lines: list[tuple[bytes, bytes]] = []  # of the head that comes, or of the trailers, which nobody reads
        self.fields = NO_FIELDS

    def stop(self) -> None:
        """No more will be fed: parser and callbacks hold each other."""
        self._parser = None
        self.feed = _unfed

    def on_message_begin(self) -> None:
        if not self._waited or self.ended:
            self.surplus = True
            raise Refused("nothing was asked")
        self.begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        parser, lines = self._parser, self._lines
        assert parser is not None
        self._lines = []
        self._count += len(lines)
        self.status = status = parser.get_status_code()
        if status < 100 or status == 101 or parser.get_http_version() not in _VERSIONS:
            raise Refused("not an answer to what was asked")
        if self._count > HEAD_LIMIT_FIELDS:
            raise Refused("too many fields")
        if status < 200:
            return
        found = {name.lower(): value for name, value in reversed(lines)}
        chunked = _CODING in found
        if chunked and [value.lower() for name, value in lines if name.lower() == _CODING] != [b"chunked"]:
            raise Refused("a transfer coding that was not asked for")
        self.fields = Fields(found)
        self.head = self.turned = True
        bodiless = self._bodiless or status in _BODILESS
        self.kept = parser.should_keep_alive() and not self._bodiless  # of HEAD's answer the parser would await a body
        self.until_closed = not bodiless and not chunked and b"content-length" not in found
        self.ended = self._bodiless

    def on_message_complete(self) -> None:
        if self.head:
            self.ended = self.turned = True


def _unfed(_: bytes) -> None:
    pass
