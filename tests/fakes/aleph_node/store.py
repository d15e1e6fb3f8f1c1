"""The messages of one node in SQLite: what was processed, what became of the rest, and what aggregates come to.

SQLite is used from the event loop: this is a fake, and its calls take well under a millisecond.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from tests.fakes.aleph_node.message import Message
from tests.fakes.aleph_node.query import Where

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, item_hash TEXT UNIQUE NOT NULL, type TEXT NOT NULL, chain TEXT NOT NULL,
  sender TEXT NOT NULL, signature TEXT NOT NULL, item_type TEXT NOT NULL, item_content TEXT, content TEXT NOT NULL,
  time REAL NOT NULL, channel TEXT, size INTEGER NOT NULL, owner TEXT NOT NULL, content_type TEXT, content_key TEXT,
  content_ref TEXT, content_time REAL NOT NULL);
CREATE INDEX IF NOT EXISTS by_time ON messages(time, item_hash);
CREATE INDEX IF NOT EXISTS by_channel ON messages(channel, time, item_hash);
CREATE INDEX IF NOT EXISTS by_owner ON messages(owner, type, content_key);
CREATE INDEX IF NOT EXISTS by_ref ON messages(content_ref);
CREATE TABLE IF NOT EXISTS statuses(
  item_hash TEXT PRIMARY KEY, status TEXT NOT NULL, reception_time REAL NOT NULL, message TEXT,
  error_code INTEGER, details TEXT, forgotten_by TEXT);
CREATE INDEX IF NOT EXISTS by_status ON statuses(status) WHERE status = 'pending';
CREATE TABLE IF NOT EXISTS files(item_hash TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blobs(item_hash TEXT PRIMARY KEY, content BLOB NOT NULL);
"""
_FIELDS = (
    "item_hash, type, chain, sender, signature, item_type, item_content, content, time, channel, size,"
    " owner, content_type, content_key, content_ref, content_time"
)
_SHOWN = 11
EVERYTHING = Where("1", (), "seq")


class Status(StrEnum):
    PENDING = "pending"
    PROCESSED = "processed"
    REJECTED = "rejected"
    FORGOTTEN = "forgotten"


class Store:
    """Owns the database file."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def add(self, messages: Iterable[Message]) -> None:
        """Keep processed messages; those that are known stay as they are."""
        now = time.time()
        rows = [_row(message) for message in messages]
        marks = ",".join("?" * len(_FIELDS.split(",")))
        with self._transaction():
            self._db.executemany(f"INSERT OR IGNORE INTO messages({_FIELDS}) VALUES ({marks})", rows)
            self._db.executemany(
                "INSERT INTO statuses(item_hash, status, reception_time) VALUES (?, 'processed', ?)"
                " ON CONFLICT DO UPDATE SET status = 'processed', message = NULL, error_code = NULL, details = NULL",
                [(row[0], now) for row in rows],
            )

    def mark(
        self, item_hash: str, status: Status, message: dict[str, Any], code: int | None = None, details: Any = None
    ) -> None:
        """Note a message that is pending or rejected; one that was processed or forgotten stays so."""
        self._db.execute(
            "INSERT INTO statuses(item_hash, status, reception_time, message, error_code, details) VALUES (?,?,?,?,?,?)"
            " ON CONFLICT DO UPDATE SET status = excluded.status, message = excluded.message,"
            " error_code = excluded.error_code, details = excluded.details WHERE status IN ('pending', 'rejected')",
            (item_hash, status, time.time(), json.dumps(message), code, json.dumps(details)),
        )

    def forget(self, item_hash: str, by: str) -> None:
        """Drop a message (and the amends of a post); its status says by whom."""
        message = self.message(item_hash)
        if message is None:
            return
        amends = "SELECT item_hash FROM messages WHERE type = 'POST' AND content_type = 'amend' AND content_ref = ?"
        hashes = [item_hash, *(row[0] for row in self._db.execute(amends, (item_hash,)))]
        with self._transaction():
            for each in hashes:
                kept = {key: value for key, value in self.shown(each).items() if key in _FORGOTTEN_FIELDS}
                self._db.execute(
                    "UPDATE statuses SET status = 'forgotten', forgotten_by = ?, message = ? WHERE item_hash = ?",
                    (json.dumps([by]), json.dumps(kept), each),
                )
                self._db.execute("DELETE FROM messages WHERE item_hash = ?", (each,))

    def status(self, item_hash: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT * FROM statuses WHERE item_hash = ?", (item_hash,)).fetchone()
        if row is None:
            return None
        packed = ("message", "details", "forgotten_by")
        return {key: json.loads(row[key]) if key in packed and row[key] else row[key] for key in row.keys()}  # noqa: SIM118

    def waiting(self) -> list[dict[str, Any]]:
        """What is pending, as it was sent, oldest first."""
        rows = self._db.execute("SELECT message FROM statuses WHERE status = 'pending' ORDER BY reception_time, rowid")
        return [json.loads(row[0]) for row in rows]

    def message(self, item_hash: str) -> Message | None:
        row = self._db.execute(f"SELECT {_FIELDS} FROM messages WHERE item_hash = ?", (item_hash,)).fetchone()
        return _message(row) if row else None

    def shown(self, item_hash: str) -> dict[str, Any]:
        """One processed message as lists show it; raises KeyError."""
        found = self.find(Where("item_hash = ?", (item_hash,), "seq"))
        if not found:
            raise KeyError(item_hash)
        return found[0]

    def find(self, what: Where, limit: int = -1, skip: int = 0) -> list[dict[str, Any]]:
        """Processed messages as lists show them."""
        rows = self._db.execute(
            f"SELECT {_FIELDS} FROM messages WHERE {what.text} ORDER BY {what.order} LIMIT ? OFFSET ?",
            (*what.args, limit, skip),
        )
        return [_show(row) for row in rows]

    def count(self, what: Where) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM messages WHERE {what.text}", what.args).fetchone()[0])

    def aggregates(self, owner: str) -> dict[str, dict[str, Any]]:
        """All aggregates of an owner: later contents replace the keys of earlier ones."""
        merged: dict[str, dict[str, Any]] = {}
        for row in self._elements(owner):
            merged.setdefault(row["content_key"], {}).update(json.loads(row["content"])["content"])
        return merged

    def aggregate(self, owner: str, key: str) -> dict[str, Any] | None:
        return self.aggregates(owner).get(key)

    def elements(self, owner: str, key: str) -> list[str]:
        return [row["item_hash"] for row in self._elements(owner) if row["content_key"] == key]

    def charged(self, owner: str) -> list[Message]:
        """What an owner pays for: machines and files that are not forgotten."""
        rows = self._db.execute(
            f"SELECT {_FIELDS} FROM messages WHERE type IN ('INSTANCE', 'STORE') AND lower(owner) = ?", (owner.lower(),)
        )
        return [_message(row) for row in rows]

    def machines_from(self, image: str) -> list[str]:
        rows = self._db.execute("SELECT item_hash, content FROM messages WHERE type = 'INSTANCE'").fetchall()
        return [row[0] for row in rows if json.loads(row[1])["rootfs"]["parent"]["ref"] == image]

    def keep_file(self, item_hash: str, text: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO files VALUES (?, ?)", (item_hash, text))

    def file(self, item_hash: str) -> str | None:
        row = self._db.execute("SELECT text FROM files WHERE item_hash = ?", (item_hash,)).fetchone()
        return str(row[0]) if row else None

    def keep_blob(self, item_hash: str, content: bytes) -> None:
        """A file that was uploaded: any bytes."""
        self._db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (item_hash, content))

    def blob(self, item_hash: str) -> bytes | None:
        """Any file, a text too."""
        row = self._db.execute("SELECT content FROM blobs WHERE item_hash = ?", (item_hash,)).fetchone()
        text = self.file(item_hash) if row is None else None
        return bytes(row[0]) if row else text.encode() if text is not None else None

    def _elements(self, owner: str) -> list[sqlite3.Row]:
        return self._db.execute(
            "SELECT item_hash, content_key, content FROM messages WHERE type = 'AGGREGATE' AND owner = ?"
            " ORDER BY content_time, seq",
            (owner,),
        ).fetchall()

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db


_FORGOTTEN_FIELDS = ("sender", "chain", "signature", "type", "item_type", "item_hash", "time", "channel")


def _row(message: Message) -> tuple[object, ...]:
    return (
        message.item_hash, message.type, message.chain, message.sender, message.signature, message.item_type,
        message.item_content, json.dumps(message.content), message.time, message.channel, message.size,
        message.owner, message.content_type, message.key, message.ref, float(message.content["time"]),
    )  # fmt: skip


def _message(row: sqlite3.Row) -> Message:
    values = dict(zip(row.keys()[:_SHOWN], tuple(row)[:_SHOWN], strict=True))
    return Message(**{**values, "content": json.loads(values["content"])})


def _show(row: sqlite3.Row) -> dict[str, Any]:
    shown = dict(zip(row.keys()[:_SHOWN], tuple(row)[:_SHOWN], strict=True))
    return {**shown, "content": json.loads(shown["content"]), "confirmations": [], "confirmed": False}
