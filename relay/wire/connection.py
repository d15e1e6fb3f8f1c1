"""One client's connection: its requests are answered one after another, in the order in which they came.

A request at an API path is an `Inbound`, which a coroutine answers; any other is `Passed` to the application. Not here:
how requests are read (requests), and how an answer is written (inbound).
"""

from __future__ import annotations

import asyncio

from relay.errors import ApiError, RequestTimeout
from relay.wire.aside import Aside
from relay.wire.heads import Headers
from relay.wire.hold import Hold
from relay.wire.inbound import Inbound
from relay.wire.passed import Passed
from relay.wire.peer import Peer
from relay.wire.requests import Requests
from relay.wire.routes import REFUSED
from relay.wire.server import Server

_QUEUED = 16  # requests read ahead of their turn


class Connection(Peer):
    """Owns the requests read ahead, and the task that answers the one whose turn it is."""

    __slots__ = ("_aside", "_closing_at", "_current", "_queue", "_requests", "_since", "_task", "server")

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop, server.pace.taking_s)
        self.server = server
        self._requests = Requests(self)
        self._current: Inbound | Passed | None = None
        self._queue: list[Inbound | Passed | ApiError] = []  # an empty deque would hold 600 bytes
        self._task: asyncio.Task[None] | None = None
        self._aside: Aside | None = None
        self._since = 0.0  # when the connection fell idle, or the head that is not whole yet began
        self._closing_at: float | None = None

    def __repr__(self) -> str:
        return f"<Connection {self._current!r} queued={len(self._queue)} {self._requests!r}>"

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._since = self._loop.time()
        self.server.add(self)
        if self.server.stopping:  # its handshake took longer than the server has lived
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        requests = self._requests
        if not requests.head_bytes and self._current is None:
            self._since = self._loop.time()
        requests.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.discard(self)
        self._requests.stop()
        self._queue.clear()
        current, self._current = self._current, None
        if isinstance(current, Inbound):
            current.leave()
        if self._task is not None:
            self._task.cancel()
        self._end_aside(error)
        super().connection_lost(error)

    def pause_writing(self) -> None:
        super().pause_writing()
        if isinstance(self._current, Inbound):
            self._current.on_full()
        elif self._aside is not None:
            self._aside.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self._current, Inbound):
            self._current.on_room()
        elif self._aside is not None:
            self._aside.resume_writing()
        if self._current is None:
            self._advance()

    # Whose turn it is.

    def enqueue(self, message: Inbound | Passed | ApiError) -> None:
        """A head has been read, or what cannot be one."""
        if self._current is not None or self._full:
            self._queue.append(message)
            if len(self._queue) > _QUEUED:
                self.pause(Hold.QUEUE)
        else:
            self._start(message)

    def give_up(self, message: Passed, error: ApiError) -> None:
        """The message's body has broken off. It is refused, unless it has been answered, or begun to be."""
        if message is not self._current:
            self._queue[-1] = error  # it was the last one
        elif self._aside is not None and self._aside.begun:
            self.transport.abort()
        else:
            self._end_aside()
            self._start(error)

    def has_read(self, message: Inbound | Passed) -> None:
        """The message's body is whole."""
        if message is self._current and isinstance(message, Passed) and message.answered:
            self._advance()

    def has_begun(self) -> None:
        """The answer may last: what only the next request would need is let go."""
        self._requests.forget()

    def _start(self, message: Inbound | Passed | ApiError) -> None:
        if isinstance(message, Inbound):
            self._current = message
            self._task = self._loop.create_task(self._answer(message))
        elif isinstance(message, Passed):
            self._current = message
            if self._aside is None:
                self._aside = Aside(self, self._on_finished)
            self._aside.start(message)
            self.read_on(Hold.BODY)
        else:
            self.server.refuse(Inbound(self, REFUSED, "", Headers(), "1.1", False), message)
            self._close_soon()

    async def _answer(self, inbound: Inbound) -> None:
        """The task of one request. What follows is its last act, where a callback would take a turn of the loop."""
        try:
            await self.server.answer(inbound)
        finally:
            self._task = None
            self._on_answered(inbound)

    def _on_answered(self, inbound: Inbound) -> None:
        if not inbound.ended or inbound is not self._current:
            self.close()
        elif inbound.keep_alive:
            self._advance()
        elif inbound.whole:
            self.close()
        else:
            self._close_soon()

    def _on_finished(self, keep: bool) -> None:
        """The application has answered. Where it does not keep the connection, and nothing is to come, it closes it."""
        message = self._current
        if not isinstance(message, Passed):
            return
        if message.opened:
            self.close()
            return
        if not keep:
            self._requests.deaf = True
            self._queue.clear()
            if not message.whole:
                self._loop.call_soon(self._dismiss)
            return
        message.answered = True
        if message.raw:
            self._loop.call_soon(self._go_on, message)
        elif message.whole:
            self._advance()

    def _go_on(self, message: Passed) -> None:
        """The other protocol was refused, so that HTTP goes on."""
        if not self.transport.is_closing():
            self._advance()
            self.read_on(Hold.BODY)
            self._requests.go_on(message.held())

    def _dismiss(self) -> None:
        """The application's part is over: what still comes of its request is thrown away."""
        self._end_aside()
        if not self.transport.is_closing():
            self._close_soon()

    def _end_aside(self, error: Exception | None = None) -> None:
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.end(error)

    def _advance(self) -> None:
        """Go on with the next request, if there is one and the client takes what it is sent."""
        self._current = None
        if self._full or self.transport.is_closing():
            return
        if self._queue:
            message = self._queue.pop(0)
            if len(self._queue) <= _QUEUED // 2:
                self.read_on(Hold.QUEUE)
            self._start(message)
            return
        self._since = self._loop.time()
        if self.server.stopping or self._requests.deaf:
            self.close()

    # Limits.

    def look(self, now: float) -> None:
        """Close what has been slow for too long."""
        if self._closing_at is not None:
            if now >= self._closing_at:
                self.transport.abort()
        elif self._task is None and (self._full or self.transport.is_closing()):
            self._look_at_unsent(now)
        elif self._current is None and not self._queue:
            waiting_s, pace = now - self._since, self.server.pace
            if self._requests.head_bytes and waiting_s > pace.head_s:
                self._requests.refuse(RequestTimeout("The request's head took too long.", code="head_timeout"))
            elif not self._requests.head_bytes and waiting_s > pace.idle_s:
                self.close()

    def retire(self) -> None:
        """The server stops: what runs may end, and nothing further begins."""
        self._queue.clear()
        self._requests.end_with(self._current)
        if self._current is None:
            self.close()
        elif isinstance(self._current, Inbound):
            self._current.keep_alive = False

    def _close_soon(self) -> None:
        """Once the client has had the time to read why: a close with bytes unread would take the answer back."""
        if self.transport.is_closing():
            return  # it has left
        self._requests.deaf = True
        self._closing_at = self._loop.time() + self.server.pace.linger_s
        self.read_all()
        if self.transport.can_write_eof():
            self.transport.write_eof()
