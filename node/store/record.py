"""What is known of a file that was fetched whole: kept beside it, so that a changed file is not taken for it.

Not here: a file that is still coming in (partial).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

_READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Record:
    """`size` in bytes. `modified_ns` and `inode` tell that nobody has touched the file since."""

    sha256: str
    size: int
    source: str
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, file: Path, sha256: str, source: str) -> Record:
        """Of a file as it is now. Raises OSError."""
        stat = file.stat()
        return cls(sha256, stat.st_size, source, stat.st_mtime_ns, stat.st_ino)

    @classmethod
    def read(cls, file: Path) -> Record | None:
        """What was kept of `file`; None if nothing that can be used."""
        try:
            found = cls(**json.loads(_beside(file).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return found if isinstance(found.sha256, str) and isinstance(found.size, int) else None

    def keep(self, file: Path) -> None:
        """Write it for `file`, so that it survives the machine's power. Raises OSError."""
        write_whole(_beside(file), json.dumps(asdict(self)).encode())

    def untouched(self, file: Path) -> bool:
        """Whether the file is there, and the very one that was recorded."""
        try:
            return Record.of(file, self.sha256, self.source) == self
        except OSError:
            return False

    def same_bytes(self, file: Path, stopped: Event) -> bool:
        """Whether the file holds what was recorded, a copy of it too. Reads all of it: call it in a thread."""
        try:
            return file.stat().st_size == self.size and digest_of(file, stopped) == self.sha256
        except OSError:
            return False


def kept_sha256(file: Path) -> str | None:
    """The digest of a file that was fetched and has not been touched since."""
    record = Record.read(file)
    return record.sha256 if record is not None and record.untouched(file) else None


def forget(file: Path) -> None:
    """Drop a file and its record."""
    for each in (_beside(file), file):
        with contextlib.suppress(FileNotFoundError):
            each.unlink()


def digest_of(file: Path, stopped: Event) -> str:
    """SHA-256. Blocks for as long as reading takes. Raises OSError, InterruptedError once `stopped` is set."""
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as opened:
        while piece := opened.read(_READ_BYTES):
            digest.update(piece)
            if stopped.is_set():
                raise InterruptedError(f"{file}: stopped")
    return digest.hexdigest()


def write_whole(file: Path, content: bytes) -> None:
    """Another content in one step: a reader finds the old one or this, after a crash too. Raises OSError."""
    draft = file.with_name(f"{file.name}.draft")
    with draft.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.record")
