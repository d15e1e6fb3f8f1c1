"""The tar that an operator sends to a VM: a configuration, a delegation or both, and nothing else. Written and read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import BinaryIO

CONFIG, DELEGATION = "waypost.toml", "delegation.json"
NAMES = (CONFIG, DELEGATION)
_LIMIT_BYTES = 1024 * 1024


class ParcelError(Exception):
    """It holds something else; the text says what."""


def write_parcel(files: Mapping[str, bytes]) -> bytes:
    """The tar that `read_parcel` takes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def read_parcel(source: BinaryIO) -> dict[str, bytes]:
    """Name -> content. Nothing is unpacked anywhere. Raises ParcelError."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for entry in tar:
                name = entry.name.removeprefix("./")
                if entry.isdir() and name in ("", "."):
                    continue
                found[name] = _content(tar, entry, name, found)
    except tarfile.TarError as error:
        raise ParcelError(f"what comes in is no tar ({error}); send one: tar c waypost.toml delegation.json") from error
    if not found:
        raise ParcelError(f"the tar is empty; it may hold {' and '.join(NAMES)}")
    return found


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo, name: str, found: Mapping[str, bytes]) -> bytes:
    if name not in NAMES or not entry.isreg():
        raise ParcelError(f"the tar holds {entry.name!r}; it may hold the files {' and '.join(NAMES)} alone")
    if name in found:
        raise ParcelError(f"the tar holds {name} twice")
    if entry.size > _LIMIT_BYTES:
        raise ParcelError(f"{name} has {entry.size} bytes; at most {_LIMIT_BYTES} are taken")
    content = tar.extractfile(entry)
    assert content is not None  # it is a file
    return content.read()
