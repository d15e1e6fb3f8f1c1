"""Where things are on a node's VM, and how its agent is run there: as its own user, in its own environment.

Tests have all of it below another root, owned by another user (`UPGRADE_ROOT`, `UPGRADE_USER`, `UPGRADE_PYTHON`).
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

UNIT = "waypost.service"


class UpgradeError(Exception):
    """What was asked for was not done; the text says why, and how things stand now."""


@dataclass(frozen=True)
class Places:
    """`root` is before every path; `python` makes the environments of releases."""

    root: Path = Path("/")
    user: str = "waypost"
    python: str = "/usr/bin/python3"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Places:
        given = {name: environment.get(f"UPGRADE_{name.upper()}") for name in ("root", "user", "python")}
        return cls(Path(given["root"] or cls.root).absolute(), given["user"] or cls.user, given["python"] or cls.python)

    @property
    def releases(self) -> Path:
        return self.root / "opt/waypost-releases"

    @property
    def current(self) -> Path:
        """A link to the release that runs."""
        return self.root / "opt/waypost"

    @property
    def etc(self) -> Path:
        return self.root / "etc/waypost"

    @property
    def config(self) -> Path:
        return self.etc / "waypost.toml"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/waypost"

    def owner(self) -> pwd.struct_passwd:
        """The agent's user. Raises UpgradeError."""
        try:
            return pwd.getpwnam(self.user)
        except KeyError as error:
            raise UpgradeError(f"there is no user {self.user} here; is this a node's VM?") from error

    def as_agent(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of a release, to its end."""
        owner = self.owner()
        uid, gid = (owner.pw_uid, owner.pw_gid) if os.geteuid() == 0 else (None, None)
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.state), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            words, env={**env, **self._environment()}, cwd="/", capture_output=True, text=True, umask=0o077,
            stdin=subprocess.DEVNULL, user=uid, group=gid, extra_groups=None if uid is None else (),
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """As the unit's EnvironmentFile gives it to the agent."""
        try:
            lines = (self.etc / "environment").read_text().splitlines()
        except FileNotFoundError:
            return {}
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
