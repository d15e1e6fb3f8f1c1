"""A backup as a tar: which files are in it, and that nothing else is. Each has its digest in `MANIFEST`.

Pure but for reading. Not here: putting them in place (restoring).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deploy.vm.upgrade.places import Places, UpgradeError

MANIFEST = "backup.json"
_VERSION = 1
_NAME = re.compile(r"(etc|state)/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LEFT_OUT = re.compile(r"lock-.*|.*\.new")
_MOST_BYTES = 64 << 20  # of one file: what is larger is no configuration


@dataclass(frozen=True)
class Kept:
    """What a backup holds: name -> content. `made_at` in Unix seconds, by a node of that release."""

    files: Mapping[str, bytes]
    made_at: float
    release: str


def written(places: Places, release: str) -> bytes:
    """The backup of the node as it is. The agent may run: each of its files is replaced in one step, never changed."""
    files = dict(_found(places))
    if "state/node.key" not in files:
        raise UpgradeError(f"{places.state} has no node.key: there is nothing to keep yet")
    made_at = int(time.time())
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = (
        json.dumps({"v": _VERSION, "made_at": made_at, "release": release, "files": digests}, indent=2).encode() + b"\n"
    )
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {MANIFEST: manifest, **files}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o600, made_at
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def opened(source: BinaryIO) -> Kept:
    """Read one. Raises UpgradeError for anything but a whole backup."""
    with tarfile.open(fileobj=source, mode="r:") as tar:
        files = dict(_members(tar))
    try:
        said = json.loads(files.pop(MANIFEST))
        version, made_at, release, digests = said["v"], float(said["made_at"]), str(said["release"]), said["files"]
    except (KeyError, ValueError, TypeError) as error:
        raise UpgradeError(f"this is no backup of a node: it has no {MANIFEST} that can be read") from error
    if version != _VERSION:
        raise UpgradeError(f"this backup is of version {version}, and version {_VERSION} is known here")
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if found != digests:
        raise UpgradeError("this backup is damaged: its files are not those of its list; nothing is changed")
    return Kept(files, made_at, release)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        if not member.isreg() or not (member.name == MANIFEST or _NAME.fullmatch(member.name)):
            raise UpgradeError(f"this is no backup of a node: {member.name!r} has no business in one")
        if member.size > _MOST_BYTES:
            raise UpgradeError(f"this is no backup of a node: {member.name} is too large")
        content = tar.extractfile(member)
        assert content is not None
        yield member.name, content.read()


def _found(places: Places) -> Iterator[tuple[str, bytes]]:
    """Files of the two folders themselves, and of none below: weights and what engines keep are made again."""
    for label, folder in (("etc", places.etc), ("state", places.state)):
        for path in sorted(folder.iterdir() if folder.is_dir() else ()):
            name = f"{label}/{path.name}"
            if path.is_file() and not path.is_symlink() and _NAME.fullmatch(name) and not _left_out(path):
                yield name, path.read_bytes()


def _left_out(path: Path) -> bool:
    return _LEFT_OUT.fullmatch(path.name) is not None or path.stat().st_size > _MOST_BYTES
