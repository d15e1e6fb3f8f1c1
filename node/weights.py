"""The model store: open a weights URI -> the file, its metadata and its digest.

A digest is computed once a file and kept by (path, size, mtime, inode), since hashing gigabytes at each start is slow.
Everything here blocks: call it in a thread. Not here: how a URI is written (uri), how the file is served (engines).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.gguf import GgufError, Metadata, read_metadata
from node.uri import WeightsUri

_CACHE = "digests.json"
_PART = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<all>\d{5})\.gguf")


class WeightsError(Exception):
    """Weights that cannot be served; one line that names the file and the fix."""


@dataclass(frozen=True)
class Weights:
    """Opened weights. `path` is what the engine is given: the first part where a model is split."""

    path: Path
    sha256: str
    size_bytes: int
    metadata: Metadata


def open_weights(uri: WeightsUri, state: Path) -> Weights:
    """Check the files and know their digest. Raises WeightsError."""
    path = uri.path.absolute()
    try:
        metadata = read_metadata(path)
        files = _parts(path, metadata.parts)
        sha256 = _digest(files, _Cache(state / _CACHE))
        size = sum(file.stat().st_size for file in files)
    except GgufError as error:
        raise WeightsError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise WeightsError(f"{error.filename or path}: there is no such file; check the path") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    if uri.sha256 is not None and uri.sha256 != sha256:
        raise WeightsError(f"{path}: its sha256 is {sha256}, not {uri.sha256} as asked for; get the right file")
    return Weights(path, sha256, size, metadata)


def _parts(path: Path, count: int) -> list[Path]:
    if count == 1:
        return [path]
    match = _PART.fullmatch(path.name)
    if match is None or int(match["part"]) != 1 or int(match["all"]) != count:
        raise WeightsError(f"{path}: it is one of {count} parts; give the one that ends in -00001-of-{count:05}.gguf")
    return [path.with_name(f"{match['stem']}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]


def _digest(files: list[Path], cache: _Cache) -> str:
    """The file's SHA-256; of several files, that of their sorted lines `sha256 name`."""
    digests = {file.name: cache.sha256(file) for file in files}
    if len(files) == 1:
        return digests[files[0].name]
    lines = sorted(f"{digest} {name}\n" for name, digest in digests.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class _Cache:
    """Digests by file, in one JSON file. Losing it costs time only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sha256(self, file: Path) -> str:
        stat = file.stat()
        identity = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        kept = self._load().get(str(file))
        if isinstance(kept, dict) and kept.get("identity") == identity and isinstance(kept.get("sha256"), str):
            return str(kept["sha256"])
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        self._save({**self._load(), str(file): {"identity": identity, "sha256": digest}})
        return digest

    def _load(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _save(self, entries: Mapping[str, Any]) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        draft.write_text(json.dumps(entries))
        draft.replace(self._path)
