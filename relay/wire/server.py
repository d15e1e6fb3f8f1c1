"""What the connections of one server share: routes, limits, the fixed part of every head, and who is connected.

Not here: listening (relay.serving), and what a request means (its handler).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from relay.errors import ApiError
from relay.wire.inbound import Inbound
from relay.wire.routes import Routes
from relay.wire.watch import Watch

if TYPE_CHECKING:
    from relay.wire.connection import Connection


@dataclass(frozen=True)
class Pace:
    """For how long a client may take, in seconds: over a head, between two pieces of a body, between two requests.

    `linger_s`: for so long what still comes of a refused body is thrown away, for its client to read why. `taking_s`:
    a client that takes nothing of its answer for so long has left.
    """

    head_s: float = 60.0
    body_s: float = 120.0
    idle_s: float = 75.0
    linger_s: float = 10.0
    taking_s: float = 120.0


class Application(Protocol):
    """One connection's way into the application, an asyncio protocol: it is fed one request after another, and writes
    to the connection's transport. `on_finished` is told after each answer whether the connection may be used again."""

    on_finished: Callable[[bool], None]

    def connection_made(self, transport: asyncio.BaseTransport, /) -> None: ...

    def data_received(self, data: bytes, /) -> None: ...

    def connection_lost(self, error: BaseException | None, /) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Server:
    """`answer` answers a request of the hot path, `refuse` what is none; `application` makes one connection's way into
    the application. `headers` go onto every answer."""

    def __init__(
        self,
        routes: Routes,
        answer: Callable[[Inbound], Coroutine[Any, Any, None]],
        refuse: Callable[[Inbound, ApiError], None],
        application: Callable[[], Application],
        headers: Mapping[str, str],
        pace: Pace,
        watch: Watch,
    ) -> None:
        self.routes = routes
        self.answer = answer
        self.refuse = refuse
        self.application = application
        self.pace = pace
        self.stopping = False
        self._watch = watch
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._starts: dict[int, str] = {}
        self._second = 0

    def __repr__(self) -> str:
        return f"<Server connections={len(self._connections)}{' stopping' if self.stopping else ''}>"

    def add(self, connection: Connection) -> None:
        """A client has connected."""
        self._connections.add(connection)
        self._watch.add(connection)
        self._empty.clear()

    def discard(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)
        self._watch.discard(connection)
        if not self._connections:
            self._empty.set()

    def start_of_head(self, status: int, now: float) -> str:
        """The status line and what every answer bears, at that Unix time."""
        if int(now) != self._second:
            self._second = int(now)
            self._starts.clear()
        start = self._starts.get(status)
        if start is None:
            date = formatdate(self._second, usegmt=True)
            start = f"HTTP/1.1 {status} {_phrase(status)}\r\n{self._fixed}Date: {date}\r\n"
            self._starts[status] = start
        return start

    async def close(self, linger_s: float) -> None:
        """Close what is idle, give the rest `linger_s` seconds to end, then end it."""
        self.stopping = True
        for connection in list(self._connections):
            connection.retire()
        if not self._connections:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(linger_s):
                await self._empty.wait()
        for connection in list(self._connections):
            connection.transport.abort()
        await self._empty.wait()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
