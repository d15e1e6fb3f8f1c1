"""The folder of one source: its files, whole or still coming in, and the lock that one process at a time holds.

A file counts as there only with its record. Nothing here touches the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Event

from node.store.partial import State, is_at, part_of
from node.store.record import Record, forget
from node.uri import RemoteUri
from node.weights import digest_of_all

_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_SHOWN, _TOLD = 60, 16
_LOCK = ".lock"


class Shelf:
    """`folder` is for this source alone, whatever digest was asked for. Raises OSError where the disk does."""

    def __init__(self, store: Path, uri: RemoteUri) -> None:
        title = _ODD.sub("_", uri.names[0])[:_SHOWN]
        self.folder = store / f"{title}-{hashlib.sha256(uri.source.encode()).hexdigest()[:_TOLD]}"
        self._uri = uri

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in self._uri.names)

    def ready(self) -> bool:
        """All files are there, untouched since they came, and with the digest that is asked for. Quick."""
        digests = []
        for file in self.files:
            record = Record.read(file)
            if record is None or not record.untouched(file):
                return False
            digests.append((record.sha256, file.name))
        return self._uri.sha256 in (None, digest_of_all(digests))

    def settle(self, stopped: Event) -> None:
        """Drop what is not what was recorded; what was merely copied or touched gets a new record. Holder only."""
        for file in self.files:
            record = Record.read(file)
            if record is None:
                forget(file)
            elif not record.untouched(file):
                if record.same_bytes(file, stopped):
                    Record.of(file, record.sha256, record.source).keep(file)
                elif not stopped.is_set():
                    forget(file)

    def kept(self, file: Path) -> Record | None:
        """The record of a file that is there."""
        record = Record.read(file)
        return record if record is not None and record.untouched(file) else None

    def wrong(self) -> str | None:
        """The digest of all files together, if another one was asked for."""
        found = digest_of_all((record.sha256, file.name) for file in self.files if (record := Record.read(file)))
        return None if self._uri.sha256 in (None, found) else found

    def clear(self) -> None:
        for file in self.files:
            forget(file)

    def size(self) -> int:
        """Bytes that are there, in whole files and parts."""
        return sum(_size(file) or _size(part_of(file)) for file in self.files)

    def announced(self) -> int | None:
        """The size of all files together, as the process that fetches them has noted it."""
        noted = (state.all_bytes for file in self.files if (state := State.read(file)) is not None)
        return next(noted, None)

    @contextlib.asynccontextmanager
    async def alone(self, look_s: float, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the lock. `waiting` is called again and again while another process does. It ends with the process."""
        lock = await self._locked(look_s, waiting)
        try:
            yield
        finally:
            os.close(lock)

    async def _locked(self, look_s: float, waiting: Callable[[], None]) -> int:
        """The lock, open and held. One that was removed meanwhile, with the folder say, holds nobody off any more."""
        path = self.folder / _LOCK
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            held = False
            try:
                while not _taken(lock):
                    waiting()
                    await asyncio.sleep(look_s)
                held = is_at(lock, path)
                if held:
                    return lock
            finally:
                if not held:
                    os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
