"""`waypost-backup`: what a node cannot lose, as one tar, and its return on this machine or on another.

In it are the node's keys, its configuration, its delegation and the floor of its adverts' `seq`; not the weights, which
are fetched again. Who holds it can be the node, so it is for its operator alone. Not here: releases (upgrade).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from deploy.vm.upgrade.archive import Kept, opened, written
from deploy.vm.upgrade.places import Places, UpgradeError
from deploy.vm.upgrade.releases import Releases
from deploy.vm.upgrade.restoring import put_back
from deploy.vm.upgrade.unit import Pace, Unit

_STREAM = Path("-")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 not done, 2 wrongly called."""
    given = _parser().parse_args(argv)
    places = Places.of(os.environ)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        if given.restore:
            kept = _read(given.file)
            return put_back(kept, places, Unit(places, Pace(given.healthy_s)), other_node=given.other_node)
        return _write(given.file, written(places, Releases(places).current().name))
    except UpgradeError as error:
        print(f"waypost-backup: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="waypost-backup", description="Keep what this node cannot lose, or bring it back."
    )
    parser.add_argument(
        "file", nargs="?", type=Path, default=_STREAM, metavar="FILE", help="the backup (default: -, a pipe)"
    )
    parser.add_argument("--restore", action="store_true", help="put what is in FILE in place, and restart the agent")
    parser.add_argument(
        "--other-node", action="store_true", help="even if that makes this machine another node than it is now"
    )
    parser.add_argument(
        "--healthy-s", type=float, default=900.0, metavar="S", help="seconds to be usable in [%(default)g]"
    )
    return parser


def _write(file: Path, content: bytes) -> int:
    if file == _STREAM:
        if sys.stdout.isatty():
            raise UpgradeError("this would print keys; name a FILE, or send it on: ssh root@NODE waypost-backup >FILE")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return 0
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UpgradeError(f"{file}: {error.strerror}") from error
    print(f"{file} holds this node's keys: keep it as you keep those")
    return 0


def _read(file: Path) -> Kept:
    """Raises UpgradeError."""
    try:
        if file == _STREAM:
            return _spooled(sys.stdin.buffer)
        with file.open("rb") as source:
            return opened(source)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UpgradeError(f"{file}: {getattr(error, 'strerror', None) or error}; nothing is changed") from error


def _spooled(pipe: BinaryIO) -> Kept:
    """A tar is read back and forth, and a pipe is not."""
    with tempfile.TemporaryFile() as spool:
        while piece := pipe.read(1 << 20):
            spool.write(piece)
        spool.seek(0)
        return opened(spool)
