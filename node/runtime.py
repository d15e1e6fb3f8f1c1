"""A private folder for this run's sockets and templates, gone when the run ends, swept when it could not tidy up.

Not here: what is put into it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SOCKET_PATH_BYTES = 107  # what the kernel's sockaddr_un holds
_LONGEST_NAME = "/run-XXXXXXXX/999.sock"


@contextlib.contextmanager
def runtime_folder(preferred: str | None) -> Iterator[Path]:
    """A new folder of mode 0700, below `preferred` if that will do. Raises OSError with the fix.

    Folders of runs that were killed are removed first.
    """
    parent = _parent(preferred)
    with _locked(parent / "lock"):
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        held = _try_lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _parent(preferred: str | None) -> Path:
    """The first base folder that is short enough for a socket's path, private to this user."""
    bases = [preferred, tempfile.gettempdir(), "/tmp"]  # noqa: S108 - checked below
    for base in bases:
        folder = Path(base, f"waypost-{os.getuid()}") if base else None
        if folder is None or not folder.parent.is_dir() or not os.access(folder.parent, os.W_OK):
            continue
        # llama-server reads a comma in its --host as the start of another one.
        if len(os.fsencode(folder)) + len(_LONGEST_NAME) <= _SOCKET_PATH_BYTES and "," not in str(folder):
            return _private(folder)
    raise OSError("no folder for sockets: XDG_RUNTIME_DIR, TMPDIR and /tmp are not writable, or their paths too long")


def _private(folder: Path) -> Path:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise OSError(f"{folder} is not a private folder of this user; remove it")
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two agents that start at once do not sweep each other's new folder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    for folder in parent.glob("run-*"):
        held = _try_lock(folder)
        if held is not None:  # nobody holds it, so its agent is dead
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)


def _try_lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock for as long as it is open, or None if another process does."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
