"""The bytes of one body, kept so that they can be sent more than once: a little in memory, the rest on disk.

The file has no name, so nothing is left behind however the process ends. A slow disk holds up no other request: whole
blocks are written and read in threads. Not here: what the bytes mean (form).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import FileIO

from relay.errors import Unavailable

log = logging.getLogger("waypost.spool")

MEMORY_BYTES = 1024 * 1024
BLOCK_BYTES = 256 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spool:
    """Written once from its start, then finished, then read from anywhere by any number of readers until closed."""

    def __init__(self) -> None:
        self.size = 0
        self._held = bytearray()  # what is not in the file
        self._file: FileIO | None = None
        self._filed = 0
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def __repr__(self) -> str:
        where = "closed" if self._closed else "memory" if self._file is None else "file"
        return f"<Spool {where}: {self.size} bytes>"

    @property
    def closed(self) -> bool:
        return self._closed

    async def write(self, data: bytes) -> None:
        """Append. Raises Unavailable where the disk takes no more."""
        self._held += data
        self.size += len(data)
        if len(self._held) > (MEMORY_BYTES if self._file is None else BLOCK_BYTES):
            await self._flush()

    async def finish(self) -> None:
        """Nothing more will be written."""
        if self._file is not None and self._held:
            await self._flush()

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`. Holds the loop up: for a few of them."""
        with self._in_use():
            if self._file is None:
                return bytes(self._held[start:end])
            read = bytearray()
            while start + len(read) < end:
                piece = os.pread(self._file.fileno(), end - start - len(read), start + len(read))
                if not piece:
                    break
                read += piece
            return bytes(read)

    async def pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, block by block."""
        for at in range(start, end, BLOCK_BYTES):
            stop = min(at + BLOCK_BYTES, end)
            yield self.read(at, stop) if self._file is None else await asyncio.to_thread(self.read, at, stop)

    def close(self) -> None:
        """Forget the bytes; a thread that is at them still ends first. May be called twice."""
        with self._lock:
            self._closed = True
            self._held = bytearray()
            if not self._users and self._file is not None:
                self._file.close()

    async def _flush(self) -> None:
        block, self._held = self._held, bytearray()
        try:
            await asyncio.to_thread(self._append, block)
        except OSError as error:
            log.error("cannot spool a request body: %s", error)
            full = error.errno in _FULL
            raise Unavailable(
                "There is no room here for so large a body; try again later, or with a smaller one.",
                code="no_space" if full else "spool_failed",
            ) from error

    def _append(self, block: bytearray) -> None:
        with self._in_use():
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
            rest = memoryview(block)
            while rest:
                written = os.pwrite(self._file.fileno(), rest, self._filed)
                self._filed += written
                rest = rest[written:]

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keeps the file open meanwhile: closed under a thread's feet, its number could be another file's already."""
        with self._lock:
            if self._closed:
                raise ValueError("the spool is closed")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._closed and not self._users and self._file is not None:
                    self._file.close()
