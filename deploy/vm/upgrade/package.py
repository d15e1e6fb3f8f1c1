"""A release as a file: the agent's wheel, or a tar of it and all that it needs. Checked, then installed.

A wheel alone takes over everything else from the release that runs, and is refused where it asks for more. Nothing is
fetched from anywhere. Not here: which release runs (releases).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from deploy.vm.upgrade.places import Places, UpgradeError
from deploy.vm.upgrade.releases import Release, Releases, begin

EXTRAS = "node,aleph,evm"
_WHEEL = re.compile(r"waypost-([0-9][A-Za-z0-9.+!]*)-py3-none-any\.whl")
_ANY_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")
_MOST_BYTES = 8 << 30  # of a tar's wheels


class Package:
    """The file at `path`, whose content has the digest `sha256`, where one is given. Raises UpgradeError."""

    def __init__(self, path: Path, sha256: str | None) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UpgradeError(f"{path}: {error.strerror}; name a wheel, or a tar of wheels") from error
        if sha256 is not None and sha256.lower() != self.sha256:
            raise UpgradeError(f"{path} has the digest {self.sha256}, and not {sha256}; nothing is changed")
        self._wheels = _names(path)
        self._agent = _agent(path, self._wheels)
        found = _WHEEL.fullmatch(PurePosixPath(self._agent).name)
        assert found is not None
        self.version = found[1]

    def install(self, releases: Releases, places: Places) -> Release:
        """In a folder of its own, beside the one that runs. Raises UpgradeError, with nothing left behind."""
        current = releases.current()
        if current.name == self.version:
            raise UpgradeError(f"{self.version} runs already; another build needs a version of its own")
        folder = releases.fresh(self.version)
        begin(folder)
        try:
            with tempfile.TemporaryDirectory(prefix="waypost-upgrade-", dir=places.releases) as held:
                self._install(folder, Path(held), current, places)
            _works(Release(self.version, folder), self.version, places)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return releases.mark(folder, self.sha256)

    def _install(self, folder: Path, held: Path, current: Release, places: Places) -> None:
        _run(places.python, "-m", "venv", "--without-pip", str(folder))
        pip = (
            current.python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--isolated",
            "--python",
            f"{folder}/bin/python",
        )
        self._unpack(held)
        agent = str(held / PurePosixPath(self._agent).name)
        if self._wheels == [self._agent]:
            _take_over(current.folder, folder, ("*",))
            _run(*pip, "install", "--no-cache-dir", "--no-index", "--no-deps", "--force-reinstall", agent)
            done = subprocess.run([*pip, "check"], capture_output=True, text=True)
            if lacking := [line for line in done.stdout.splitlines() if line.startswith("waypost ")]:
                raise UpgradeError(f"{lacking[0]} {current.name} does not have it: give a tar with all wheels")
        else:
            _take_over(current.folder, folder, ("pip", "pip-*.dist-info"))
            wanted = f"waypost[{EXTRAS}] @ file://{agent}"
            _run(*pip, "install", "--no-cache-dir", "--no-index", "--find-links", str(held), wanted)

    def _unpack(self, held: Path) -> None:
        if self.path.suffix == ".whl":
            shutil.copy(self.path, held)
            return
        with tarfile.open(self.path) as tar:
            for name in self._wheels:
                member = tar.extractfile(name)
                assert member is not None
                with (held / PurePosixPath(name).name).open("xb") as file:
                    shutil.copyfileobj(member, file)


def _names(path: Path) -> list[str]:
    """Of its wheels. What else is in a tar is left there."""
    if path.suffix == ".whl":
        return [path.name]
    try:
        with tarfile.open(path) as tar:
            members = [member for member in tar if member.isreg()]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UpgradeError(f"{path} is neither a wheel nor a tar of wheels") from error
    wheels = [member for member in members if _ANY_WHEEL.fullmatch(PurePosixPath(member.name).name)]
    if sum(member.size for member in wheels) > _MOST_BYTES:
        raise UpgradeError(f"{path}: its wheels take more than {_MOST_BYTES >> 30} GiB")
    if len({PurePosixPath(member.name).name for member in wheels}) != len(wheels):
        raise UpgradeError(f"{path} has two wheels of one name")
    return [member.name for member in wheels]


def _agent(path: Path, wheels: list[str]) -> str:
    ours = [name for name in wheels if _WHEEL.fullmatch(PurePosixPath(name).name)]
    if len(ours) != 1:
        raise UpgradeError(f"{path}: there must be one waypost-VERSION-py3-none-any.whl, and there are {len(ours)}")
    return ours[0]


def _take_over(old: Path, new: Path, which: tuple[str, ...]) -> None:
    """Packages of the running release: all of them, engines included, or what installs the others."""
    for site in old.glob("lib/python3*/site-packages"):
        target = new / site.relative_to(old)
        if not target.is_dir():
            raise UpgradeError(f"{site.parent.name} is not this system's Python any more: give a tar with all wheels")
        for each in (path for pattern in which for path in site.glob(pattern)):
            if each.is_dir() and not each.is_symlink():
                shutil.copytree(each, target / each.name, symlinks=True)
            else:
                shutil.copy2(each, target, follow_symlinks=False)


def _works(release: Release, version: str, places: Places) -> None:
    """It starts, is what its name says, and takes the node's configuration. Raises UpgradeError."""
    done = places.as_agent(release.waypost, "--version")
    if done.returncode or done.stdout.split()[-1:] != [version]:
        raise UpgradeError(f"{version} does not start, and is not installed: {_last(done)}")
    if not places.config.exists():
        return
    done = places.as_agent(release.waypost, "node", "keys", "--config", str(places.config))
    if done.returncode:
        raise UpgradeError(f"{version} does not take {places.config}, and is not installed: {_last(done)}")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    return ((done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _run(*words: str) -> None:
    """Raises UpgradeError."""
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise UpgradeError(f"the release cannot be installed: {' '.join(words[1:4])}: {_last(done)}")
