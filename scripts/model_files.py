"""Where the demo's models lie: files that a script made in the cache, and links to all of them in the environment.

A made file is named by what it was made of, so that a second set-up makes no second one; the links have plain names,
`.venv/share/waypost/NAME`. Not here: what is in the files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path


def keep(name: str, parts: tuple[Path, ...], write: Callable[[Path], None]) -> Path:
    """The link `name` to a file in the cache, which `write` makes if it is not there. A script is one of its parts."""
    wanted = Path(name)
    kept = _cache() / f"{wanted.stem}-{_fingerprint(parts)}{wanted.suffix}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_name(f".{kept.name}.{os.getpid()}")
        write(draft)
        draft.replace(kept)
    return link(name, kept)


def link(name: str, target: Path) -> Path:
    """Put `name` into the environment; the folder is one, and what stood there before is replaced."""
    place = Path(sys.prefix) / "share" / "waypost" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(place)
    return place


def package_folder(package: str) -> Path | None:
    """Where an installed package lies. It is not imported: that would bring what it imports."""
    spec = importlib.util.find_spec(package)
    return next((Path(folder) for folder in (spec and spec.submodule_search_locations) or ()), None)


def _fingerprint(parts: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waypost" / "models"
