"""The model store: open a weights URI -> the file, its metadata and its digest.

A digest is computed once a file and kept by (path, size, mtime, inode), since hashing gigabytes at each start is slow.
Everything here blocks: call it in a thread. Not here: how a URI is written (uri), how a file gets here (store), how
it is served (engines).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from node.gguf import GgufError, Metadata, read_metadata
from node.store.record import kept_sha256
from node.uri import PART, WeightsUri

OTHER_SUFFIXES = (".onnx", ".safetensors", ".ckpt")
_CACHE = "digests.json"
_PIECE_BYTES = 1024 * 1024
_PROJECTOR = "clip"  # its architecture, as llama.cpp names it


class WeightsError(Exception):
    """Weights that cannot be served; one line that names the file and the fix."""


@dataclass(frozen=True)
class Weights:
    """Opened weights. `path` is what the engine is given: the first part where a model is split, or the folder."""

    path: Path
    sha256: str
    size_bytes: int
    metadata: Metadata | None  # of a GGUF


def open_weights(
    uri: WeightsUri,
    state: Path,
    beside: Sequence[Path] = (),
    projector: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Weights:
    """Check the files and know their digest; `beside` and `projector` belong to the model. Raises WeightsError.

    `stopped` is asked now and then whether anybody still wants to know.
    """
    path = uri.path.absolute()
    further = [*beside, *([projector] if projector else [])]
    try:
        _check_plain([path, *further])
        metadata = _read(path) if _is_gguf(path) else None
        files = {**{file.absolute(): file.name for file in further}, **_files(path, metadata)}
        if projector and _read(projector).architecture != _PROJECTOR:
            raise WeightsError(f"{projector}: it is no projector; give the model's mmproj file")
        sha256 = _digest(files, _Cache(state / _CACHE, stopped))
        size = sum(file.stat().st_size for file in files)
    except FileNotFoundError as error:
        raise WeightsError(f"{error.filename or path}: there is no such file; check the path") from error
    except OSError as error:
        raise WeightsError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    if uri.sha256 is not None and uri.sha256 != sha256:
        whose = "its sha256" if len(files) == 1 else f"the sha256 of its {len(files)} files together"
        raise WeightsError(f"{path}: {whose} is {sha256}, not {uri.sha256} as asked for; get the right file")
    return Weights(path, sha256, size, metadata)


def _check_plain(files: Iterable[Path]) -> None:
    """A pipe is waited for until somebody writes to it, and a device never ends."""
    for file in files:
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise WeightsError(f"{file}: it is neither a file nor a folder; give the path of one")


def _read(path: Path) -> Metadata:
    try:
        return read_metadata(path)
    except GgufError as error:
        raise WeightsError(f"{path}: {error}") from error


def _is_gguf(path: Path) -> bool:
    """Whatever is not plainly something else is read as a GGUF, so that its reader says what is wrong with it."""
    return not path.is_dir() and path.suffix not in OTHER_SUFFIXES


def _files(path: Path, metadata: Metadata | None) -> dict[Path, str]:
    """File -> name, of all that make the model. Names may be equal: files from elsewhere may stand beside these."""
    if metadata is not None:
        return {part: part.name for part in _parts(path, metadata.parts)}
    if path.is_dir():
        names = ((file, file.relative_to(path)) for file in path.rglob("*") if file.is_file())
        files = {file: str(name) for file, name in names if _counts(name)}
        if not files:
            raise WeightsError(f"{path}: the folder holds no files; check the path")
        return files
    settings = path.with_name(f"{path.name}.json")  # a voice's
    return {file: file.name for file in (path, settings) if file == path or file.exists()}


def _counts(name: Path) -> bool:
    """Not what a download or Python itself left in the folder: it differs from machine to machine."""
    return not any(part.startswith(".") or part == "__pycache__" for part in name.parts)


def _parts(path: Path, count: int) -> list[Path]:
    if count == 1:
        return [path]
    match = PART.fullmatch(path.name)
    if match is None or int(match["part"]) != 1 or int(match["all"]) != count:
        raise WeightsError(f"{path}: it is one of {count} parts; give the one that ends in -00001-of-{count:05}.gguf")
    return [path.with_name(f"{match['stem']}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]


def _digest(files: Mapping[Path, str], cache: _Cache) -> str:
    return digest_of_all((cache.sha256(file), name) for file, name in files.items())


def digest_of_all(digests: Iterable[tuple[str, str]]) -> str:
    """(sha256, name) of each file -> the file's SHA-256; of several files, that of their sorted lines `sha256 name`."""
    found = list(digests)
    if len(found) == 1:
        return found[0][0]
    lines = sorted(f"{digest} {name}\n" for digest, name in found)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class _Cache:
    """Digests by file, in one JSON file. Losing it costs time only."""

    def __init__(self, path: Path, stopped: Callable[[], bool]) -> None:
        self._path = path
        self._stopped = stopped

    def sha256(self, file: Path) -> str:
        stat = file.stat()
        identity = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        if (fetched := kept_sha256(file)) is not None:
            return fetched  # it was computed as the file came in
        kept = self._load().get(str(file))
        if isinstance(kept, dict) and kept.get("identity") == identity and isinstance(kept.get("sha256"), str):
            return str(kept["sha256"])
        with file.open("rb") as opened:
            digest = self._digest(opened)
        with contextlib.suppress(OSError), self._alone():  # models are opened side by side
            self._save({**self._load(), str(file): {"identity": identity, "sha256": digest}})
        return digest

    def _digest(self, opened: BinaryIO) -> str:
        digest, piece = hashlib.sha256(), memoryview(bytearray(_PIECE_BYTES))
        while read := opened.readinto(piece):  # type: ignore[attr-defined]
            if self._stopped():
                raise WeightsError(f"{opened.name}: nobody waits for its digest any more")
            digest.update(piece[:read])
        return digest.hexdigest()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

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
