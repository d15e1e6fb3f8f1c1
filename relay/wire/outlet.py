"""A client's transport as the application sees it: it writes there, and asks for pauses; what it does is noticed.

Not here: the application (relay.serving).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from relay.wire.hold import Hold

if TYPE_CHECKING:
    from relay.wire.connection import Connection


_OPENED = b"HTTP/1.1 101 "


class Outlet(asyncio.Transport):
    """`begun`: something was written since that was last looked at; `on_opened` is called where that says that another
    protocol is spoken now. Once it is `cut`, nothing it is told counts."""

    def __init__(self, connection: Connection, on_opened: Callable[[], None]) -> None:
        super().__init__()
        self.on_opened = on_opened
        self._connection = connection
        self._transport = connection.transport
        self.begun = False
        self.cut = False

    def __repr__(self) -> str:
        return f"<Outlet{' begun' if self.begun else ''}{' cut' if self.cut else ''}>"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.cut:
            self._transport.write(data)
            if not self.begun:
                self._begin(data)

    def writelines(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.cut or self._transport.is_closing()

    def close(self) -> None:
        if not self.cut:
            self._connection.close()

    def abort(self) -> None:
        if not self.cut:
            self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def _begin(self, head: bytes | bytearray | memoryview) -> None:
        self.begun = True
        if bytes(head[: len(_OPENED)]) == _OPENED:
            self.on_opened()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        if not self.cut:
            self._connection.pause(Hold.APPLICATION)

    def resume_reading(self) -> None:
        if not self.cut:
            self._connection.read_on(Hold.APPLICATION)
