"""The releases that are installed, each in a folder of its own, and the link to the one that runs.

A release counts once its mark is written, which is the last act of installing it. Not here: installing (package), and
telling the agent (unit).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.vm.upgrade.places import Places, UpgradeError

_MARK = ".release"
_BEFORE = ".before"  # the name of the release to go back to
_TRYING = ".trying"  # while a release has not shown yet that it works


@dataclass(frozen=True)
class Release:
    """`sha256`: of the file that it came from; empty for the one that came with the image."""

    name: str
    folder: Path
    sha256: str = ""
    installed_at: float = 0.0

    @property
    def waypost(self) -> str:
        return str(self.folder / "bin/waypost")

    @property
    def python(self) -> str:
        return str(self.folder / "bin/python")


class Releases:
    """What stands in the folder of releases."""

    def __init__(self, places: Places) -> None:
        self._folder = places.releases
        self._link = places.current

    def all(self) -> list[Release]:
        """Those that are whole, oldest first."""
        folders = [path for path in self._folder.iterdir() if path.is_dir() and not path.is_symlink()]
        found = [release for path in folders if (release := _read(path)) is not None]
        return sorted(found, key=lambda release: (release.installed_at, release.name))

    def named(self, name: str) -> Release | None:
        return next((release for release in self.all() if release.name == name), None)

    def current(self) -> Release:
        """The one that the link names. Raises UpgradeError."""
        name = self._link.resolve().name
        release = self.named(name) if self._link.is_symlink() else None
        if release is None:
            raise UpgradeError(f"{self._link} leads to no release in {self._folder}; is this a node's VM?")
        return release

    def before(self) -> Release | None:
        """The one that ran before the current one."""
        return self._noted(_BEFORE)

    def trying(self) -> Release | None:
        """The one to go back to, where an upgrade was broken off before the new release had shown that it works."""
        return self._noted(_TRYING)

    def fresh(self, name: str) -> Path:
        """An empty folder for that release: what is there of a broken attempt goes."""
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def mark(self, folder: Path, sha256: str) -> Release:
        """It is whole."""
        release = Release(folder.name, folder, sha256, time.time())
        _write(folder / _MARK, json.dumps({"sha256": sha256, "installed_at": release.installed_at}))
        return release

    def attempt(self, release: Release) -> None:
        """Let the link name it. Until `keep` or `leave` is called it is known which release was left for it."""
        _write(self._folder / _TRYING, self.current().name)
        self._point(release)

    def keep(self, before: Release) -> None:
        """The link stays; `before` is the release to go back to."""
        _write(self._folder / _BEFORE, before.name)
        self._settle()

    def leave(self, release: Release) -> None:
        """The attempt was none: the link names `release` again, and what is before that is what was."""
        self._point(release)
        self._settle()

    def _point(self, release: Release) -> None:
        """In one step."""
        fresh = self._link.with_name(f".{self._link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.path.relpath(release.folder, self._link.parent))
        fresh.rename(self._link)

    def _settle(self) -> None:
        (self._folder / _TRYING).unlink(missing_ok=True)

    def tidy(self) -> list[str]:
        """Remove all but the current one and the one before; the names of what went."""
        kept = {release.name for release in (self.current(), self.before(), self.trying()) if release is not None}
        gone = [path for path in self._folder.iterdir() if path.is_dir() and path.name not in kept]
        for path in gone:
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in gone]

    def _noted(self, note: str) -> Release | None:
        try:
            return self.named((self._folder / note).read_text().strip())
        except FileNotFoundError:
            return None


def _read(folder: Path) -> Release | None:
    try:
        said = json.loads((folder / _MARK).read_text())
    except (FileNotFoundError, ValueError):
        # The image's own has none, and is whole; what was broken off has no program, which is installed last.
        return Release(folder.name, folder) if (folder / "bin/waypost").exists() and not _begun(folder) else None
    said = said if isinstance(said, Mapping) else {}
    return Release(folder.name, folder, str(said.get("sha256", "")), float(said.get("installed_at", 0)))


def begin(folder: Path) -> None:
    """What is in the folder is not whole, until it is marked."""
    (folder / f"{_MARK}.begun").touch()


def _begun(folder: Path) -> bool:
    return (folder / f"{_MARK}.begun").exists()


def _write(file: Path, text: str) -> None:
    draft = file.with_name(f"{file.name}.new")
    with draft.open("w") as written:
        written.write(text + "\n")
        written.flush()
        os.fsync(written.fileno())
    draft.rename(file)
