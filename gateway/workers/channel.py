"""Messages between the parent and one worker, over a socket pair of their own: JSON, each text behind its length.

JSON and no pickle: it costs less here (what travels of an advert is its signed text), and can do nothing but be wrong.
Nobody else holds either end, so that each end tells the death of the other. Not here: what messages mean.
"""

from __future__ import annotations

import asyncio
import socket
from enum import StrEnum
from typing import Any

import orjson

__all__ = ["Channel", "Kind", "Silent"]

_LENGTH_BYTES = 4
_MOST_BYTES = 64 * 2**20  # of one message; the largest are a few hundred rows of at most 64 KiB


class Kind(StrEnum):
    """What a message is."""

    HELLO = "hello"  # to a worker: its number, the options, the key, the address
    NAMES = "names"  # names that were valid lately
    CURATION = "curation"  # what names mean by pins of curators; takes effect with the next WHOLE
    CHANGES = "changes"  # what is believed of some nodes
    WHOLE = "whole"  # all that came before makes one truth
    STATE = "state"  # of the registries; also the sign that the parent lives
    COUNT = "count"  # say what you have counted
    METRICS = "metrics"  # the text of all workers' metrics
    DRAIN = "drain"  # after the notice take nothing more, and say when all has ended
    STOP = "stop"
    SERVING = "serving"  # from a worker
    ALIVE = "alive"
    DRAINED = "drained"
    COUNTED = "counted"
    SCRAPE = "scrape"  # somebody wants all workers' metrics


class Silent(Exception):
    """The other end is there, and has said nothing for too long."""


class Channel:
    """One end. `receive` is for one task; anybody may `send`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """Takes the socket over, and closes it in the end."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def send(self, kind: Kind, content: Any = None) -> None:
        """Returns once the other end keeps up. Raises ConnectionError where there is no other end any more."""
        text = orjson.dumps((kind, content))
        self._writer.write(len(text).to_bytes(_LENGTH_BYTES) + text)
        await self._writer.drain()

    async def receive(self, limit_s: float) -> tuple[Kind, Any] | None:
        """The next message, None once the other end is gone.

        Raises Silent after `limit_s` without one, ValueError for what is none.
        """
        try:
            async with asyncio.timeout(limit_s):
                length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
                if length > _MOST_BYTES:
                    raise ValueError(f"a message of {length} bytes")
                text = await self._reader.readexactly(length)
        except TimeoutError as error:
            raise Silent(f"nothing was heard for {limit_s:.0f} s") from error
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return _parsed(text)

    @property
    def unsent_bytes(self) -> int:
        """What waits here for the other end to read."""
        return self._writer.transport.get_write_buffer_size()

    def close(self) -> None:
        """What was not sent by now is not sent."""
        self._writer.transport.abort()


def _parsed(text: bytes) -> tuple[Kind, Any]:
    match orjson.loads(text):
        case [str(kind), content]:
            return Kind(kind), content
    raise ValueError("a message is a kind and its content")
