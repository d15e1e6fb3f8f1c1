"""The embedded board: one SQLite file, shared by every process on this machine that can open it.

All SQLite work happens in one thread of the backend's own. Two processes may write at once (WAL, busy timeout).
Not here: judging what is posted.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from registry.advert import MAX_ENVELOPE_BYTES
from registry.backend import BackendError, Unreachable
from registry.posted import read_advert
from registry.seen import Seen

__all__ = ["SqliteBackend"]

BUSY_S = 5.0  # how long a write waits for another process
BATCH = 500  # rows read in one step
POLL_S = 0.2  # how late `watch` may see a posting

_PREFIX = "sqlite:///"
_SCHEMA = "CREATE TABLE IF NOT EXISTS postings (id INTEGER PRIMARY KEY AUTOINCREMENT, envelope BLOB NOT NULL)"
# Whoever writes to the file may store any type and any length; one byte above the limit is still "too large".
_SELECT = "SELECT id, substr(CAST(envelope AS BLOB), 1, ?) FROM postings WHERE id > ? ORDER BY id LIMIT ?"

_T = TypeVar("_T")


class _State(NamedTuple):
    """Two that are equal are of the same content: `version` counts what others write, `own` what `db` does."""

    db: sqlite3.Connection
    version: int
    own: int


class _Changes(NamedTuple):
    state: _State
    top: int
    rows: list[tuple[int, str]]


class SqliteBackend:
    """See `registry.backend.Backend`. Publishing makes the file, reading does not; its folder must exist."""

    def __init__(self, url: str) -> None:
        """ValueError if the URL is not sqlite:///relative.db or sqlite:////absolute.db."""
        self.url = self.board = url
        self.faults = 0
        self.paid = False
        self._path = _path(url)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="registry")
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._seen = Seen()

    def __repr__(self) -> str:
        return f"SqliteBackend({self.url}, {self._seen!r})"

    async def exists(self) -> bool:
        return await self._read(lambda _: True, absent=False)

    async def publish(self, envelope_json: str) -> None:
        await self._write(lambda db: _insert(db, envelope_json))

    async def fetch(self) -> AsyncIterator[list[str]]:
        seen, last = Seen(), 0
        none: list[tuple[int, str]] = []
        while rows := await self._read(partial(_select, after=last, limit=BATCH), absent=none):
            for row_id, text in rows:
                seen.add(row_id, text)
            last = rows[-1][0]
            yield [text for _, text in rows]
        self._seen = seen

    async def watch(self) -> AsyncIterator[str]:
        state = None
        while True:
            changes = await self._read(partial(_changes, state, self._seen.remembered_after), absent=None)
            if changes is not None:
                state = changes.state
                if not self._seen.fits(changes.top, changes.rows):
                    self._seen, state = Seen(), None  # set back, and perhaps grown again: everything is new
                    continue
                for row_id, text in changes.rows:
                    if self._seen.add(row_id, text):
                        yield text
            await asyncio.sleep(POLL_S)

    async def retire(self, operator: str, node: str, below_seq: int) -> None:
        await self._read(lambda db: _delete(db, operator, node, below_seq), absent=None)

    async def allow(self, delegate: str) -> bool:
        return False

    async def disallow(self, delegates: Sequence[str]) -> bool:
        return False

    async def vm_owner(self, item_hash: str) -> str | None:
        return None

    async def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # closed already
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _read(self, work: Callable[[sqlite3.Connection], _T], absent: _T) -> _T:
        """What `work` makes of the file, or `absent` if there is none."""
        return await self._in_thread(lambda: absent if self._is_absent() else self._use("rw", work))

    async def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Let `work` change the file, which is made if there is none."""
        await self._in_thread(lambda: self._use("rwc", work))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._explained, work)
        except RuntimeError as error:
            raise BackendError(f"registry {self.url}: closed") from error

    def _explained(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            raise Unreachable(f"registry {self.url}: {_explain(self._path, error)}") from error

    def _is_absent(self) -> bool:
        """No file, and none was open; a folder that is missing is for the connection to tell."""
        return self._connection is None and self._path.parent.is_dir() and _identity(self._path) is None

    def _use(self, mode: str, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._connected(mode) as db:
            return work(db)

    def _connected(self, mode: str) -> sqlite3.Connection:
        """The open connection; made anew after a failure. A file that was replaced is a failure, told once."""
        if self._connection is not None:
            if _identity(self._path) != self._identity:
                self._identity = None
                raise OSError("the file was removed or replaced")
            return self._connection
        uri = f"{self._path.absolute().as_uri()}?mode={mode}"
        db = sqlite3.connect(uri, timeout=BUSY_S, isolation_level="IMMEDIATE", uri=True)
        try:
            _prepare(db)
        except BaseException:
            db.close()
            raise
        self._connection, before, self._identity = db, self._identity, _identity(self._path)
        if before != self._identity:
            self._seen = Seen()  # another file counts from 1 again
        return db

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _path(url: str) -> Path:
    name = url.removeprefix(_PREFIX)
    if not url.startswith(_PREFIX) or not name.strip("/") or name.startswith(":") or "?" in name:
        raise ValueError(f"registry {url}: must be sqlite:///relative.db or sqlite:////absolute.db")
    return Path(name)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands behind the name; None if none does."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _prepare(db: sqlite3.Connection) -> None:
    """Set up a new file. SQLite does not wait for others when the journal mode changes, so that is tried until due."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode=WAL")
            db.execute(_SCHEMA)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # in the backend's own thread


def _insert(db: sqlite3.Connection, text: str) -> None:
    db.execute("INSERT INTO postings (envelope) VALUES (?)", (text.encode("utf-8", "surrogatepass"),))


def _select(db: sqlite3.Connection, after: int, limit: int = -1) -> list[tuple[int, str]]:
    rows = db.execute(_SELECT, (MAX_ENVELOPE_BYTES + 1, after, limit))
    return [(row_id, bytes(raw or b"").decode("utf-8", "replace")) for row_id, raw in rows]


def _changes(before: _State | None, after: int, db: sqlite3.Connection) -> _Changes | None:
    """The rows after an id and the highest id ever given, unless nothing was written since the state `before`."""
    state = _State(db, db.execute("PRAGMA data_version").fetchone()[0], db.total_changes)
    if state == before:
        return None
    top = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'postings'").fetchone()
    return _Changes(state, top[0] if top else 0, _select(db, after))


def _delete(db: sqlite3.Connection, operator: str, node: str, below_seq: int) -> None:
    db.executemany("DELETE FROM postings WHERE id = ?", _older(_select(db, 0), operator, node, below_seq))


def _older(rows: list[tuple[int, str]], operator: str, node: str, below_seq: int) -> Iterator[tuple[int]]:
    """Ids of what claims to be an older advert. Unverified: tidying proves nothing, and loses nothing that counts."""
    for row_id, text in rows:
        if (read := read_advert(text)) is not None:
            _, advert = read
            if (advert.operator, advert.node) == (operator, node) and advert.seq < below_seq:
                yield (row_id,)


def _explain(path: Path, error: Exception) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist; create it"
    if path.is_dir():
        return "is a folder; name a file in it"
    return f"cannot be used ({error}); check that it is a SQLite file which you may write"
