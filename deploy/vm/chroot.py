"""Commands within a Debian tree: /proc and /dev are there for as long as one runs, in a mount namespace of its own.

Not here: what is run, and the words in which a failure is told to the user (steps).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.vm.steps import run

# Mounts end with the namespace, so nothing is left behind, whatever ends the command.
_ENTER = """
set -e
root=$1; shift
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
exec chroot "$root" "$@"
"""
_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Chroot:
    """A tree that commands run in. `log` takes what they say; `epoch` is the time that they shall write down."""

    root: Path
    log: Path
    epoch: int = field(default=0)

    def run(self, *words: str, binds: Mapping[Path, str] | None = None) -> None:
        """`binds`: folder here -> folder in the tree, made if missing. Raises StepFailed."""
        run(*self._entering(words, binds or {}), log=self.log, env=self._env())

    def output(self, *words: str) -> str:
        """What it prints. Raises subprocess.CalledProcessError."""
        return subprocess.check_output(self._entering(words, {}), env=self._env(), text=True)

    def _entering(self, words: Sequence[str], binds: Mapping[Path, str]) -> tuple[str, ...]:
        shown: list[str] = []
        for here, there in binds.items():
            (self.root / there.lstrip("/")).mkdir(parents=True, exist_ok=True)
            shown += [str(here.resolve()), there]
        enter = ("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _ENTER, "sh")
        return (*enter, str(self.root.resolve()), *shown, "--", *words)

    def _env(self) -> dict[str, str]:
        term = {"TERM": os.environ.get("TERM", "dumb")}
        return {**_QUIET, **term, "PATH": _PATH, "SOURCE_DATE_EPOCH": str(self.epoch), "PYTHONHASHSEED": "0"}
