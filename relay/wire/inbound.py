"""One request of a client, and the answer to it, as bytes on the client's connection.

Its handler reads the body by `read_piece` and answers by `respond`, or by `begin`, `write`, `end`. A stream's bytes
come straight from the upstream's connection through `write`. Not here: parsing (requests), keep-alive (connection).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from relay.errors import BadRequest
from relay.wire.flow import unheeded
from relay.wire.heads import Headers, answer_head, media_type
from relay.wire.hold import Hold
from relay.wire.routes import Found

if TYPE_CHECKING:
    from relay.wire.connection import Connection

_HELD_BYTES = 256 * 1024  # of a body that nobody has read yet
_NO_HEADERS = Headers()
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DEFAULT_TYPE = "application/octet-stream"
_LAST_CHUNK = b"0\r\n\r\n"


def _unbegun(_: bytes) -> None:
    raise AssertionError("write before begin")


def _nowhere(_: bytes) -> None:
    pass


class Inbound:
    """`template` is the route's path, `vm` what stands in its place; `model` is set by whoever finds it out.

    `status` is what was answered: 499 until then, as of a client that left. `on_full` and `on_room` are called when the
    client takes no more bytes for now, and when it takes them again. `extra` are further lines of the answer's head.
    """

    __slots__ = (
        "_body", "_broken", "_chunked", "_complete", "_connection", "_expects", "_held", "_send", "_waiter", "begun",
        "ended", "extra", "handler", "headers", "http11", "keep_alive", "method", "model", "on_full", "on_room",
        "request_id", "status", "template", "vm",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, found: Found, method: str, headers: Headers, version: str, keep_alive: bool
    ) -> None:
        self._connection = connection
        self.template, self.handler, self.vm = found
        self.method = method
        self.headers = headers
        self.http11 = version != "1.0"
        self.keep_alive = keep_alive
        self.request_id = ""
        self.model = ""
        self.extra = ""
        self.status = 499
        self.begun = False
        self.ended = False
        self.on_full: Callable[[], None] = unheeded
        self.on_room: Callable[[], None] = unheeded
        self._body: list[bytes] = []
        self._held = 0
        self._complete = False
        self._broken = False
        self._waiter: asyncio.Future[None] | None = None
        self._chunked = False
        self._send: Callable[[bytes], None] = _unbegun
        self._expects = "Expect" in headers

    def __repr__(self) -> str:
        state = "ended" if self.ended else "begun" if self.begun else "open"
        return f"<Inbound {self.method} {self.template} {state} {self.status}>"

    # The request.

    @property
    def content_type(self) -> str:
        """The media type, lower case, without its parameters."""
        given = self.headers.get("Content-Type")
        return media_type(given) if given else _DEFAULT_TYPE

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where its head says so."""
        given = self.headers.get("Content-Length")
        return int(given) if given else None

    @property
    def peer(self) -> str:
        """The address that the connection comes from; empty where it has none."""
        name = self._connection.transport.get_extra_info("peername")
        return name[0] if isinstance(name, tuple) else ""

    @property
    def stalled_s(self) -> float:
        """For how long the body may stop."""
        return self._connection.server.pace.body_s

    @property
    def taking_s(self) -> float:
        """For how long the client may take nothing of its answer."""
        return self._connection.server.pace.taking_s

    @property
    def whole(self) -> bool:
        """Whether all of the body is here."""
        return self._complete

    def take_held(self) -> bytes:
        """What has come of the body and was not taken yet: all that is left of one that is `whole`."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        if self._held > _HELD_BYTES:
            self._connection.read_on(Hold.BODY)
        self._held = 0
        return body

    async def read_piece(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises BadRequest where it is broken."""
        if self._expects:
            self._expects = False
            if not self._complete and not self._held:
                self._connection.transport.write(_CONTINUE)
        while not self._body and not self._complete and not self._broken:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._broken:
            raise BadRequest("The request body is broken: its framing or encoding is wrong.", code="broken_body")
        return self.take_held()

    def take_body(self, piece: bytes) -> bool:
        """More of the body has come. Whether there is room for yet more."""
        self._body.append(piece)
        self._held += len(piece)
        self._wake()
        return self._held <= _HELD_BYTES

    def complete(self) -> None:
        """The body is whole."""
        self._complete = True
        self._wake()

    def break_body(self) -> None:
        """What follows is not HTTP: the body will not come to its end."""
        self._broken = not self._complete
        self._wake()

    def leave(self) -> None:
        """The client is gone. What an upstream still sends, until its answer is closed, goes nowhere."""
        self._send = _nowhere

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The answer.

    def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The whole answer."""
        self._begin(status)
        head = self._head(headers, f"Content-Length: {len(body)}\r\n")
        self._connection.transport.write(head if self.method == "HEAD" else head + body)
        self.ended = True

    def begin(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        """The head. Without a length the body is chunked, or ends with the connection."""
        self._begin(status)
        self._chunked = length is None and self.http11
        if length is None and not self.http11:
            self.keep_alive = False
        framing = "Transfer-Encoding: chunked\r\n" if self._chunked else ""
        head = self._head(headers, framing if length is None else f"Content-Length: {length}\r\n")
        self._send = self._connection.transport.write
        self._send(head)
        self._connection.has_begun()

    def write(self, piece: bytes) -> None:
        """More of the body; never empty. Here each token of a stream passes."""
        send = self._send  # cheaper than to call the slot
        send(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)

    def end(self) -> None:
        """The body is whole."""
        if self._chunked:
            self._connection.transport.write(_LAST_CHUNK)
        self.ended = True

    def fail(self, event: bytes) -> None:
        """An error event, and then no end: the connection closes once the event has left."""
        self.write(event)
        self._connection.close()

    def break_off(self) -> None:
        """End the connection without the answer's end: the final chunk is missing, or some of the length."""
        self._connection.break_off(reset=not self.http11)

    async def room(self) -> None:
        """Until the client takes bytes again. Raises ConnectionError where it takes none for too long."""
        await self._connection.room()

    def _begin(self, status: int) -> None:
        self.status = status
        self.headers = _NO_HEADERS  # of a stream that may last: they take a tenth of all that it holds
        if not self._complete:
            self.keep_alive = False  # what is still to come of the body will not be read

    def _head(self, headers: Mapping[str, str], framing: str) -> bytes:
        start = self._connection.server.start_of_head(self.status, time.time())
        connection = "" if self.http11 else "Connection: keep-alive\r\n"
        if not self.keep_alive:
            connection = "Connection: close\r\n"
        head = answer_head(start, framing, headers, f"X-Request-Id: {self.request_id}\r\n{self.extra}{connection}")
        self.begun = True  # not before: one that cannot be written can still be answered otherwise
        return head
