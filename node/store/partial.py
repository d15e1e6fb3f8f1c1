"""A file that is coming in: its bytes, and beside them what they are the beginning of. Everything here blocks.

Killed at any point, the next one to open it goes on where it ended. Bytes that the machine had not yet written to the
disk when its power went are not counted as there. Not here: where bytes come from (download).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from threading import Event

from node.store.ranges import Held, Incoming
from node.store.record import Record, digest_of, write_whole

_SYNC_BYTES = 64 * 1024 * 1024
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class State:
    """What is kept beside the bytes. `synced` of them are on the disk for sure, all of them in the same `boot`.

    `all_bytes` is the size of all files of the model together, for who waits.
    """

    url: str
    total: int | None
    etag: str | None
    modified: str | None
    synced: int
    boot: str
    all_bytes: int | None

    @classmethod
    def read(cls, file: Path) -> State | None:
        """Of the file that will be `file`; None if there is none that can be used."""
        try:
            found = cls(**json.loads(_state_of(file).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        numbers = isinstance(found.synced, int) and isinstance(found.total, int | None)
        return found if numbers and isinstance(found.all_bytes, int | None) else None


class Partial:
    """Owns `<file>.part` and its state. Bytes of another `url` are not gone on with. Raises OSError throughout.

    Nobody else can write it: the bytes have a lock of their own, since the folder's may be deleted by somebody.
    """

    def __init__(self, file: Path, url: str, stopped: Event) -> None:
        self.file = file
        self.size = 0
        self.spliced = False  # of more than one answer
        self._url = hashlib.sha256(url.encode()).hexdigest()  # as it is kept: a query may hold a key
        self._stopped = stopped
        self._state = self._new_state(None, None)
        self._opened: FileIO | None = None
        self._hash: hashlib._Hash | None = None  # None where bytes came in an earlier process

    def __repr__(self) -> str:
        return f"<Partial {self.file.name} {self.size} of {self._state.total}>"

    @property
    def held(self) -> Held:
        return Held(self.size, self._state.total, self._state.etag, self._state.modified)

    @property
    def whole(self) -> bool:
        return self._state.total is not None and self.size == self._state.total

    def open(self) -> None:
        """Find what an earlier process left of the same URL."""
        how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._opened = FileIO(os.open(part_of(self.file), how, 0o644), "r+")
        try:
            fcntl.flock(self._opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, "another process is writing it", str(part_of(self.file))) from error
        state, there = State.read(self.file), os.fstat(self._opened.fileno()).st_size
        if state is not None and state.url == self._url:
            self._state = state
            self.size = there if state.boot == _boot() else min(there, state.synced)
            if state.total is not None and self.size > state.total:
                self.size = 0
        self._opened.truncate(self.size)
        self._opened.seek(self.size)
        self.spliced = self.size > 0
        self._hash = None if self.size else hashlib.sha256()

    def begin(self, incoming: Incoming, all_bytes: int | None) -> None:
        """A body follows. From the first byte: what was there is dropped first."""
        if incoming.begin:
            self.spliced = True
            return
        self.clear()
        self._state = self._new_state(incoming, all_bytes)
        self._keep_state()

    def append(self, piece: bytes) -> None:
        self._check(self.size)
        opened, view = self._file(), memoryview(piece)
        while view:
            written = opened.write(view)
            if self._hash is not None:
                self._hash.update(view[:written])
            self.size += written
            view = view[written:]
        if self.size - self._state.synced >= _SYNC_BYTES:
            self._sync()

    def end(self) -> None:
        """The source, which had not said how long the file is, has said that this was all."""
        self._state = State(**{**asdict(self._state), "total": self.size})

    def seal(self) -> str:
        """All is there: have it on the disk; returns its SHA-256."""
        self._sync()
        return self._hash.hexdigest() if self._hash is not None else digest_of(part_of(self.file), self._stopped)

    def publish(self, sha256: str, source: str) -> None:
        """From now on it is the file. A crash in between leaves a whole part, which the next process publishes."""
        self._check(self.size)
        Record.of(part_of(self.file), sha256, source).keep(self.file)
        part_of(self.file).replace(self.file)
        folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        _state_of(self.file).unlink(missing_ok=True)

    def clear(self) -> None:
        """Drop the bytes."""
        opened = self._file()
        opened.truncate(0)
        opened.seek(0)
        self.size, self.spliced, self._hash = 0, False, hashlib.sha256()
        self._state = self._new_state(None, None)

    def drop(self) -> None:
        """Drop the bytes and their file."""
        self.clear()
        self._check(0)
        for each in (_state_of(self.file), part_of(self.file)):
            each.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _file(self) -> FileIO:
        assert self._opened is not None
        return self._opened

    def _sync(self) -> None:
        os.fdatasync(self._file().fileno())
        self._state = State(**{**asdict(self._state), "synced": self.size, "boot": _boot()})
        self._keep_state()

    def _check(self, size: int) -> None:
        """What stands under the name is what was written here: somebody may have removed or cut it meanwhile."""
        opened = self._file().fileno()
        if not is_at(opened, part_of(self.file)) or os.fstat(opened).st_size != size:
            raise OSError(errno.ESTALE, "somebody else has removed or changed it meanwhile", str(part_of(self.file)))

    def _keep_state(self) -> None:
        self._check(self.size)
        write_whole(_state_of(self.file), json.dumps(asdict(self._state)).encode())

    def _new_state(self, incoming: Incoming | None, all_bytes: int | None) -> State:
        if incoming is None:
            return State(self._url, None, None, None, 0, _boot(), all_bytes)
        return State(self._url, incoming.total, incoming.etag, incoming.modified, 0, _boot(), all_bytes)


def part_of(file: Path) -> Path:
    """Where the bytes are until the file is whole."""
    return file.with_name(f"{file.name}.part")


def is_at(opened: int, path: Path) -> bool:
    """Is the file that is open as `opened` still the one at `path`?"""
    try:
        return os.path.samestat(os.fstat(opened), os.lstat(path))
    except FileNotFoundError:
        return False


def _state_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.part.json")


def _boot() -> str:
    """Differs after each start of the machine."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text().strip()
    return ""
