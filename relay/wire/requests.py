"""Requests out of a client's bytes: who will answer each is decided at its head, its body follows as it comes.

What is not HTTP is refused, and nothing behind it is read: nobody knows where another request would begin. A request
whose head is the last one's again, but for its length, is not parsed: not its body either, which is as long as it says,
so that the parser stands between two messages all the while, and only then (`_owed`) may it be passed by. Not here:
whose turn it is (connection), the grammar (llhttp, by httptools), and what a good head is (heads).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from relay.errors import ApiError, BadRequest
from relay.wire import heads
from relay.wire.hold import Hold
from relay.wire.inbound import Inbound
from relay.wire.known import Head, Known
from relay.wire.passed import Passed

if TYPE_CHECKING:
    from relay.wire.connection import Connection

_NO_FIELDS: list[heads.Field] = []  # never added to: a message begins with a list of its own


class Requests:
    """The parser of one connection. `deaf`: nothing more is read. `head_bytes`: so much is there of a head that is not
    whole yet, and perhaps of what follows it."""

    __slots__ = (
        "_blank_bytes", "_connection", "_fields", "_heads", "_keep_alive", "_known", "_left", "_message", "_owed",
        "_parser", "_replaying", "_target", "_upgraded", "deaf", "head_bytes",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parser = httptools.HttpRequestParser(self)
        self._fields: list[heads.Field] = _NO_FIELDS
        self._target = b""
        self._message: Inbound | Passed | None = None  # the one whose body is being read
        self._upgraded: Passed | None = None
        self._replaying = False
        self._keep_alive = True
        self._blank_bytes = 0  # of a body, that are no data: extensions of chunks, trailers
        self._known: Known | None = None  # the last head
        self._left = 0  # bytes of the body that are still to come, where the parser is passed by
        self._owed = 0  # the same where it is not; -1 where nobody knows how far it is
        self._heads: list[Head] = []  # of the bytes that are being parsed
        self.deaf = False
        self.head_bytes = 0

    def __repr__(self) -> str:
        return f"<Requests reading={self._message!r}{' deaf' if self.deaf else ''}>"

    def feed(self, data: bytes) -> None:
        """The client's next bytes."""
        if self._upgraded is not None:
            self._room(self._upgraded.take_body(data))
            return
        if self.deaf:
            return
        if self._left:
            self._take(data)
        elif self._owed or self._known is None or not self._begins_known(self._known, data):
            self._parse(data)

    def _begins_known(self, known: Known, data: bytes) -> bool:
        """The parser stands between two messages, and so need see neither a head that is known nor its body."""
        read = known.read(data)
        if read is None:
            return False
        start, self._left = read
        self._message = Inbound(self._connection, known.found, known.method, known.headers, known.version, True)
        self._connection.enqueue(self._message)
        self._take(data[start:])
        return True

    def _take(self, data: bytes) -> None:
        """Bytes of a body whose length is known; whatever is behind them is the parser's."""
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        if piece:
            self.on_body(piece)
        if not self._left:
            self._complete()
        if rest and not self.deaf:
            self._parse(rest)

    def _parse(self, data: bytes) -> None:
        owed, self._owed = self._owed, -1
        if self._message is None:
            self.head_bytes += len(data)
        else:
            self._blank_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._change_protocol(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(BadRequest(f"This is not HTTP: {_why(error)}.", code="invalid_http"))
        if self._message is None:
            if self.head_bytes > heads.LIMIT_BYTES:
                self.refuse(heads.too_large())
        elif self._blank_bytes > heads.LIMIT_BYTES:
            self.refuse(
                BadRequest("This is not HTTP: its chunks hold more beside data than data.", code="invalid_http")
            )
        if not self.deaf:
            self._owed = max(owed - len(data), -1) if owed else self._learn(data)
        self._heads.clear()

    def _learn(self, data: bytes) -> int:
        """All that was read since the parser last stood between two messages: know its head again, say what is owed."""
        if len(self._heads) != 1:
            return -1
        head = self._heads[0]
        end, length = head.end_in(data), int(head.headers.get("Content-Length") or 0)
        if end is None or len(data) > end + length:
            return -1
        self._known = Known.of(data[:end], head) or self._known
        return end + length - len(data)

    def go_on(self, rest: bytes) -> None:
        """What the last request asked for was refused; `rest` came behind it."""
        self._upgraded = self._message = None
        self._parser = httptools.HttpRequestParser(self)
        self.deaf = not self._keep_alive
        if rest:
            self.feed(rest)

    def refuse(self, error: ApiError) -> None:
        """What has come is no request, or takes too long."""
        if self.deaf:
            return  # what comes behind a last request
        self.deaf = True
        message, self._message = self._message, None
        if message is None:
            self._connection.enqueue(error)
        elif isinstance(message, Inbound):
            message.break_body()
        else:
            self._connection.give_up(message, error)

    def end_with(self, message: Inbound | Passed | None) -> None:
        """Nothing is read any more but what is still to come of this message."""
        if message is not None and message is self._message:
            self._keep_alive = False
        else:
            self.deaf = True

    def forget(self) -> None:
        """The last head: with it a stream would take a third more memory, for as long as it lasts."""
        self._known = None

    def stop(self) -> None:
        """Nothing will come any more. Whom this holds holds it, and would be freed by the collector alone."""
        self.deaf = True
        self._message = self._upgraded = None
        del self._parser, self._connection

    # The parser calls these.

    def on_message_begin(self) -> None:
        self._fields = []
        self._target = b""

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._message is None:  # else it is a trailer, which is no header
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.deaf or self._replaying:
            return
        length, self.head_bytes, self._blank_bytes = self.head_bytes, 0, 0
        parser = self._parser
        method, version, headers = parser.get_method(), parser.get_http_version(), heads.headers_of(self._fields)
        fault = heads.fault_of(method, self._target, version, headers)
        if fault is None and length > heads.LIMIT_BYTES and heads.size_of(self._fields) > heads.LIMIT_BYTES:
            fault = heads.too_large()
        if fault is not None:
            self.refuse(fault)
            return
        self._keep_alive = keep_alive = parser.should_keep_alive()
        found = self._connection.server.routes.find(heads.path_of(self._target))
        name = method.decode("ascii")
        if found is not None:
            self._message = Inbound(self._connection, found, name, headers, version, keep_alive)
        else:
            self._message = self._passed(method, version, headers, keep_alive)
        plain = not (parser.should_upgrade() or "Transfer-Encoding" in headers)
        self._heads.append(Head(plain, len(self._fields), found, name, version, headers))
        self._connection.enqueue(self._message)

    def on_body(self, piece: bytes) -> None:
        self._blank_bytes = 0
        if self._message is not None:
            self._room(self._message.take_body(piece))

    def on_message_complete(self) -> None:
        if self._message is not None and (self._replaying or not self._parser.should_upgrade()):
            self._complete()

    def _complete(self) -> None:
        message, self._message = self._message, None
        assert message is not None
        self._fields = _NO_FIELDS
        self.deaf = not self._keep_alive  # the parser's own may have changed: it heeds trailers
        message.complete()
        self._connection.has_read(message)

    def _passed(self, method: bytes, version: str, headers: heads.Headers, keep_alive: bool) -> Passed:
        fields, upgrade = self._fields, self._parser.should_upgrade()
        raw = upgrade and heads.is_websocket(method, headers)
        if upgrade and not raw:
            fields = heads.without_upgrade(fields, keep_alive=keep_alive)
        head = heads.request_head(method, self._target, version, fields)
        return Passed(head, chunked="Transfer-Encoding" in headers, raw=raw)

    def _change_protocol(self, rest: bytes) -> None:
        """The parser stops behind a head that asks for another protocol, whether there is a body or not."""
        message = self._message
        if message is None:
            return
        if isinstance(message, Passed) and message.raw:
            self._upgraded = message
            self._room(message.take_body(rest))
            return
        # Nobody here speaks it: the request is read on as if it had not asked.
        fields = heads.without_upgrade(self._fields, keep_alive=self._keep_alive)
        self._parser = httptools.HttpRequestParser(self)
        self._replaying = True
        self._parser.feed_data(heads.request_head(b"POST", b"/", "1.1", fields))
        self._replaying = False
        if rest:
            self.feed(rest)

    def _room(self, there_is: bool) -> None:
        if not there_is:
            self._connection.pause(Hold.BODY)


def _why(error: httptools.HttpParserError) -> str:
    return str(error).replace("`", "'") or "its framing is wrong"
