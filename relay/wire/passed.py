"""A request that the application answers: written anew, as it was understood, one at a time.

So that nobody behind reads its framing otherwise than it was read here. Not here: the parser (requests).
"""

from __future__ import annotations

from collections.abc import Callable

_HELD_BYTES = 256 * 1024
_LAST_CHUNK = b"0\r\n\r\n"


class Passed:
    """Its bytes are held until `start` says where they go.

    `raw`: it asks for another protocol. What follows it is held until that is `opened`, and else is HTTP as before.
    """

    __slots__ = ("_chunked", "_head", "_held", "_size", "_take", "answered", "opened", "raw", "whole")

    def __init__(self, head: bytes, *, chunked: bool, raw: bool) -> None:
        self._head = head
        self._chunked = chunked
        self._held: list[bytes] = []
        self._size = 0
        self._take: Callable[[bytes], None] | None = None
        self.raw = raw
        self.opened = False
        self.whole = False
        self.answered = False

    def __repr__(self) -> str:
        return f"<Passed {'whole' if self.whole else 'open'}{' raw' if self.raw else ''} held={self._size}>"

    def start(self, take: Callable[[bytes], None]) -> None:
        """From now on it goes there."""
        self._take = take
        take(self._head if self.raw else self._head + self.held())
        self._head = b""

    def open(self) -> None:
        """The other protocol is spoken from now on."""
        self.opened = True
        held = self.held()
        if held and self._take is not None:
            self._take(held)

    def held(self) -> bytes:
        """What has come and went nowhere yet; it is held no longer."""
        held = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return held

    def take_body(self, piece: bytes) -> bool:
        """More of the body has come, or of what follows. Whether there is room for yet more."""
        return self._pass(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece) if piece else True

    def complete(self) -> None:
        """The body is whole."""
        self.whole = True
        if self._chunked:
            self._pass(_LAST_CHUNK)

    def _pass(self, raw: bytes) -> bool:
        if self._take is not None and (self.opened or not self.raw):
            self._take(raw)
            return True
        self._held.append(raw)
        self._size += len(raw)
        return self._size <= _HELD_BYTES
