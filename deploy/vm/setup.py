"""`waypost-setup`, within the VM: puts an operator's configuration and delegation in place, and shows the node's keys.

It is run by root over SSH, and believes nothing that it reads before the release that is installed has parsed it: all
is taken, or nothing. Not here: making delegations (registry), and what the agent does with them (node).
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from deploy.vm.parcel import CONFIG, DELEGATION, ParcelError, read_parcel
from registry.reasons import Refused
from registry.signing import open_delegation

USAGE = """usage: waypost-setup <parcel.tar     put waypost.toml, delegation.json or both in place
       waypost-setup keys            print the node's public keys, made if they are not there"""
UNIT = "waypost.service"
# What the agent takes on at a SIGHUP (docs/operators.md); any other change of options restarts it.
REREAD = frozenset({
    "models", "model", "price", "idle_s", "head_s", "gap_s", "start_s", "ram_mib", "vram_mib", "hold_s", "cold_s",
    "keepalive_s", "quiet_s", "queue", "queue_s", "ready_s", "drain_s", "log_level",
})  # fmt: skip
_CHECK = """
import sys, waypost
from relay.configuring import OptionError
try:
    waypost._sources(("node", "serve"), {"config": sys.argv[1]}).read()
except OptionError as error:
    sys.exit("\\n".join(error.problems))
"""


class Action(Enum):
    """What a change asks of the unit."""

    NOTHING = "nothing"
    RELOAD = "reload"
    RESTART = "restart"


class SetupError(Exception):
    """Nothing was changed; the text says why."""


@dataclass(frozen=True)
class Places:
    """Where a node's files are. Tests have them elsewhere, owned by another user."""

    etc: Path = Path("/etc/waypost")
    state: Path = Path("/var/lib/waypost")
    user: str = "waypost"

    @property
    def config(self) -> Path:
        return self.etc / CONFIG

    @property
    def delegation(self) -> Path:
        return self.state / DELEGATION


def main() -> int:
    """Returns the exit status: 0 done and the agent runs, 1 not, 2 wrongly called."""
    root = Path(os.environ.get("SETUP_ROOT", "/"))
    places = Places(root / "etc/waypost", root / "var/lib/waypost", os.environ.get("SETUP_USER", "waypost"))
    words = sys.argv[1:]
    if words not in ([], ["keys"]):
        print(USAGE, file=sys.stderr)
        return 0 if words in (["--help"], ["-h"]) else 2
    try:
        if words:
            print(json.dumps(keys(places)), flush=True)
            return 0
        return put(sys.stdin.buffer, places)
    except (SetupError, ParcelError) as error:
        print(f"waypost-setup: {error}", file=sys.stderr)
        return 1


def keys(places: Places) -> dict[str, str | None]:
    """As `waypost node keys` prints them. Raises SetupError."""
    config = ("--config", str(places.config)) if places.config.exists() else ()
    made: dict[str, str | None] = json.loads(_as_agent(places, "-m", "waypost", "node", "keys", *config))
    return made


def put(parcel: BinaryIO, places: Places) -> int:
    """Check what a tar brings, put it in place, tell the unit. Where it raises, nothing is changed."""
    brought = read_parcel(parcel)
    with (places.etc / ".setup.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _check(brought, places)
        before = _text(places.config)
        changed = [name for name, text in brought.items() if _text(_target(name, places)) != text]
        for name in changed:
            _replace(_target(name, places), brought[name], places)
    active = _tell(needed(before, _text(places.config), changed, active=_is_active()))
    print(json.dumps({"changed": changed, "active": active}), flush=True)
    return 0 if active or not places.config.exists() else 1


def needed(before: bytes | None, after: bytes | None, changed: list[str], *, active: bool) -> Action:
    """What the unit has to do. A delegation is found by the agent itself."""
    if after is None:
        return Action.NOTHING
    if not active:
        return Action.RESTART
    if CONFIG not in changed:
        return Action.NOTHING
    old, new = _options(before), _options(after)
    differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return Action.RELOAD if differing <= REREAD else Action.RESTART


def _options(text: bytes | None) -> Mapping[str, object]:
    """The table [node]; of a file that does not parse, none."""
    try:
        table = tomllib.loads((text or b"").decode()).get("node", {})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}
    return table if isinstance(table, dict) else {}


def _check(brought: Mapping[str, bytes], places: Places) -> None:
    if CONFIG in brought:
        _check_config(brought[CONFIG], places)
    if DELEGATION in brought:
        check_delegation(brought[DELEGATION], keys(places), time.time())


def _check_config(text: bytes, places: Places) -> None:
    """The installed release parses it, as the agent's own user. A key in it is no argument of any process."""
    with tempfile.TemporaryDirectory(prefix="waypost-setup-") as folder:
        file = Path(folder) / CONFIG
        file.write_bytes(text)
        for made in (file, Path(folder)):  # while the folder is still ours, nothing in it can be another file
            shutil.chown(made, places.user)
        _as_agent(places, "-c", _CHECK, str(file))


def check_delegation(text: bytes, own: Mapping[str, str | None], now: float) -> None:
    """Whether readers would take what these keys sign under it, at `now` (Unix seconds). Raises SetupError."""
    try:
        signed = json.loads(text)
        delegation = open_delegation(signed if isinstance(signed, dict) else {})
    except (ValueError, Refused) as error:
        raise SetupError(f"{DELEGATION}: {error}; make it with waypost registry delegate") from error
    if delegation.delegate != own["delegate"]:
        raise SetupError(f"{DELEGATION} is for {delegation.delegate}, and this node's delegate is {own['delegate']}")
    if delegation.node not in (None, own["node"]):
        raise SetupError(f"{DELEGATION} is for the node {delegation.node}, and this is {own['node']}")
    if delegation.expires_at <= now:
        raise SetupError(f"{DELEGATION} has expired; make a new one")


def _as_agent(places: Places, *words: str) -> str:
    """What the release's Python prints, as the agent's user and with its environment. Raises SetupError."""
    user = pwd.getpwnam(places.user)
    lines = (places.etc / "environment").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line[:1] not in ("", "#"))
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(places.state), "LC_ALL": "C.UTF-8", **settings}
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [sys.executable, "-I", *words], env=env, cwd="/", capture_output=True, text=True, umask=0o077,
        stdin=subprocess.DEVNULL, **who,  # type: ignore[call-overload]
    )  # fmt: skip
    if done.returncode:
        raise SetupError(f"nothing is changed: {done.stderr.strip()}")
    return str(done.stdout)


def _target(name: str, places: Places) -> Path:
    return places.config if name == CONFIG else places.delegation


def _text(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _replace(target: Path, text: bytes, places: Places) -> None:
    """In one step: whoever reads finds the old file or the new one.

    The state folder is the agent's own, which could put a link there meanwhile: so it is the open file that is given
    away, never a name.
    """
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    mode = 0o640 if target == places.config else 0o600
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        if os.geteuid() == 0:
            user = pwd.getpwnam(places.user)
            os.fchown(file.fileno(), 0 if target == places.config else user.pw_uid, user.pw_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(target)


def _tell(action: Action) -> bool:
    """Whether the unit is active then."""
    if action is Action.NOTHING:
        return _is_active()
    done = subprocess.run(["systemctl", action.value, UNIT], capture_output=True, text=True)
    if done.returncode:
        print(f"waypost-setup: systemctl {action.value} {UNIT}: {done.stderr.strip()}", file=sys.stderr)
    return _is_active()


def _is_active() -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", UNIT]).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
