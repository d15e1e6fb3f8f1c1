"""Takes out of a tree what belongs to the build alone, or to one machine, and what differs from build to build.

What is left depends on the packages, the wheels, our files and the epoch, so two builds from one cache are equal.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deploy.vm.agent import RELEASES
from deploy.vm.chroot import Chroot
from deploy.vm.packages import POLICY, UNSAFE

_EMPTIED = (
    "var/log", "var/cache/apt", "var/lib/apt/lists", "var/lib/apt/mirrors", "var/cache/debconf", "var/cache/ldconfig",
    "tmp", "var/tmp", "run", "dev", "root", "boot/efi", "usr/share/doc", "usr/share/man", "usr/share/info",
    "usr/share/locale", "usr/share/lintian", "usr/share/bug", "var/lib/systemd/catalog", "var/lib/cloud",
)  # fmt: skip
_REMOVED = (
    "etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf", "etc/.pwd.lock",
    "var/lib/systemd/random-seed", "etc/ssh/ssh_host_*", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
    "etc/subuid-", "etc/subgid-", "var/lib/dpkg/*-old", "var/lib/dpkg/lock*", "var/lib/dpkg/triggers/Lock",
    "var/lib/ucf/*.[0-9]", "var/backups/*", "debootstrap", POLICY, UNSAFE,
)  # fmt: skip
_FOLDERS = ("var/log/journal", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log/apt",
            "var/log/unattended-upgrades", "var/cache/debconf", "var/cache/ldconfig", "var/lib/cloud")  # fmt: skip
_COPYRIGHT = "usr/share/doc"


def tidy(tree: Chroot) -> None:
    """Leaves a tree that boots anywhere, and everything in it dated no later than the epoch."""
    root = tree.root
    notices = list(_copyrights(root))
    tree.run("update-initramfs", "-u", "-k", "all")
    _compile(tree)
    for name in _EMPTIED:
        _empty(root / name)
    for pattern in _REMOVED:
        _remove(root, pattern)
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for file, text in notices:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    _blank(root)
    _date(root, tree.epoch)


def _blank(root: Path) -> None:
    """What each machine fills in for itself at its first boot."""
    (root / "etc/machine-id").touch()  # empty: made at the first boot, without what systemd calls one
    (root / "etc/hostname").write_text("waypost\n")
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/resolv.conf")
    (root / "root").chmod(0o700)
    shadow = root / "etc/shadow"
    shadow.write_text(undated(shadow.read_text()))


def undated(shadow: str) -> str:
    """The lines of a shadow file without the day on which each password was last changed."""
    fields = (line.split(":") for line in shadow.splitlines())
    return "".join(":".join((*parts[:2], "19000", *parts[3:])) + "\n" for parts in fields)


def _compile(tree: Chroot) -> None:
    """Python's compiled code, made anew in one order. The agent's own is never looked behind; Debian's is, since
    packages are replaced. By the hash of the source, so that dates mean nothing."""
    for folder in [found for found in tree.root.rglob("__pycache__") if found.is_dir()]:
        shutil.rmtree(folder)
    kinds = {
        "/usr/lib/python3": "checked-hash",
        "/usr/lib/python3.11": "checked-hash",
        f"/{RELEASES}": "unchecked-hash",
    }
    for place, mode in kinds.items():
        tree.run("python3", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", mode, place)


def _copyrights(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Licences ask to travel with what they are of: these stay of all documentation."""
    for file in sorted((root / _COPYRIGHT).glob("*/copyright")):
        if file.is_file():
            yield file, file.read_bytes()


def _remove(root: Path, pattern: str) -> None:
    """By its own name too: a glob does not see a link to nowhere."""
    for file in {root / pattern, *root.glob(pattern)}:
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _date(root: Path, epoch: int) -> None:
    for folder, names, files in os.walk(root, topdown=False):
        for name in (*names, *files):
            _date_one(Path(folder, name), epoch)
    _date_one(root, epoch)


def _date_one(file: Path, epoch: int) -> None:
    at = min(int(file.lstat().st_mtime), epoch)
    os.utime(file, (at, at), follow_symlinks=False)
