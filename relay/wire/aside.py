"""The application's part of one connection: its protocol, and the transport as it sees it.

Not here: which requests are the application's, and when (connection).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.wire.flow import unheeded
from relay.wire.hold import Hold
from relay.wire.outlet import Outlet
from relay.wire.passed import Passed

if TYPE_CHECKING:
    from relay.wire.connection import Connection


class Aside:
    """Made with the first request that is passed. `on_finished` as in `server.Application`."""

    __slots__ = ("_application", "_connection", "_message", "_outlet")

    def __init__(self, connection: Connection, on_finished: Callable[[bool], None]) -> None:
        self._connection = connection
        self._message: Passed | None = None
        self._outlet = Outlet(connection, self._on_opened)
        self._application = connection.server.application()
        self._application.on_finished = on_finished
        self._application.connection_made(self._outlet)

    def __repr__(self) -> str:
        return f"<Aside {self._outlet!r}>"

    @property
    def begun(self) -> bool:
        """Whether something of an answer to the current request was written."""
        return self._outlet.begun

    def start(self, message: Passed) -> None:
        """It is the application's turn."""
        self._outlet.begun = False
        self._message = message
        message.start(self._application.data_received)

    def pause_writing(self) -> None:
        self._application.pause_writing()

    def resume_writing(self) -> None:
        self._application.resume_writing()

    def end(self, error: Exception | None = None) -> None:
        """The client is gone, or as good as gone: what the application still does goes nowhere."""
        self._outlet.cut = True
        self._outlet.on_opened = unheeded  # each would hold the other
        self._application.connection_lost(error)

    def _on_opened(self) -> None:
        if self._message is not None:
            self._message.open()
            self._connection.read_on(Hold.BODY)  # as much may have been held that no more was read
