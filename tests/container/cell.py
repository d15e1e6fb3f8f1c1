"""A container's inside, as a container engine would make it: `cell.py SPEC`, run as root as the first process of new
mount and PID namespaces (unshare). It puts the image's files together with volumes, then becomes the program.

The root is read-only, /tmp and the like are empty, there are no capabilities and no way to new ones. Not here: which
image and which volumes (engine).
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}


@dataclass(frozen=True)
class Spec:
    """What is to run, and where. `binds` are (path on this machine, path inside) pairs."""

    root: str
    binds: list[tuple[str, str]]
    tmpfs: list[str]
    folder: str
    user: int
    group: int
    env: dict[str, str]
    words: list[str]

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))


def main() -> int:
    """Does not return where all goes well."""
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))
    _put_together(spec)
    os.chroot(spec.root)
    os.chdir(spec.folder)
    _give_up_rights(spec)
    os.umask(0o022)
    os.execve(spec.words[0], spec.words, spec.env)


def _put_together(spec: Spec) -> None:
    root = Path(spec.root)
    _mount("--bind", spec.root, spec.root)
    _mount("-t", "proc", "proc", str(root / "proc"))
    _mount("-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    _mount("-t", "tmpfs", "-o", "mode=755,size=64m", "tmpfs", str(root / "dev"))
    for name, (major, minor) in _DEVICES.items():
        os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        (root / "dev" / name).chmod(0o666)
    for path in ("/dev/shm", *spec.tmpfs):
        place = root / path.lstrip("/")
        place.mkdir(exist_ok=True)
        _mount("-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", str(place))
    for source, path in spec.binds:
        _mount("--bind", source, str(root / path.lstrip("/")))
    _mount("-o", "remount,bind,ro", spec.root)


def _mount(*words: str) -> None:
    subprocess.run(("mount", *words), check=True)


def _give_up_rights(spec: Spec) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"capability {capability} stays")
    os.setgroups([spec.group])
    os.setgid(spec.group)
    os.setuid(spec.user)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")


if __name__ == "__main__":
    sys.exit(main())
