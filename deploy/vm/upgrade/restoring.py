"""A backup put in place: all of it or, where that fails midway, what was there before. The agent is stopped meanwhile.

Not here: what a backup is (archive).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from deploy.vm.upgrade.archive import Kept
from deploy.vm.upgrade.places import Places, UpgradeError
from deploy.vm.upgrade.releases import Releases
from deploy.vm.upgrade.unit import Unit

_NODE_KEY = "state/node.key"


def put_back(kept: Kept, places: Places, unit: Unit, *, other_node: bool) -> int:
    """Returns the exit status. Raises UpgradeError."""
    if _NODE_KEY not in kept.files:
        raise UpgradeError("the backup holds no node key; nothing is changed")
    there = places.state / "node.key"
    if not other_node and there.exists() and there.read_bytes() != kept.files[_NODE_KEY]:
        raise UpgradeError(
            "this machine is another node already. --other-node makes it the one of the backup: its present keys are "
            "then lost, and the machine of the backup must never run again; nothing is changed"
        )
    files = {_target(name, places): content for name, content in kept.files.items()}
    files |= _floors(files)
    unit.stop()
    _replace(files, places)
    if not unit.wanted:
        print("the keys are back; the backup held no waypost.toml to serve by")
        return 0
    unit.start()
    fault = unit.becomes_usable(Releases(places).current())
    if fault is not None:
        raise UpgradeError(
            f"everything is in place, and the node cannot be used: {fault}; see journalctl --unit waypost"
        )
    print(f"the node is back: {len(files)} files")
    return 0


def _target(name: str, places: Places) -> Path:
    label, _, rest = name.partition("/")
    return (places.etc if label == "etc" else places.state) / rest


def _floors(files: Mapping[Path, bytes]) -> dict[Path, bytes]:
    """A `seq` never goes back: where this machine has come further than the backup, that stays."""
    floors = [path for path in files if path.name.startswith("seq-") and path.exists()]
    return {path: max(files[path], path.read_bytes(), key=_number) for path in floors}


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _replace(files: Mapping[Path, bytes], places: Places) -> None:
    """First all are written beside their places, then each takes its own: what can fail does so before."""
    owner = places.owner()
    drafts: dict[Path, Path] = {}
    try:
        for target, content in files.items():
            drafts[target] = _draft(target, content, owner.pw_uid, owner.pw_gid, places)
    except OSError as error:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        raise UpgradeError(
            f"{error.filename}: {error.strerror}; nothing is changed, and the agent is stopped"
        ) from error
    for target, draft in drafts.items():
        draft.rename(target)


def _draft(target: Path, content: bytes, uid: int, gid: int, places: Places) -> Path:
    """The configuration is root's, for the agent to read; what is in the state folder is the agent's."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if target.parent == places.state else 0o755)
    draft = target.with_name(f".{target.name}.new")
    draft.unlink(missing_ok=True)
    ours = target.parent == places.etc
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        if os.geteuid() == 0:
            os.fchown(file.fileno(), 0 if ours else uid, gid)  # never by name: the folder is not ours
        os.fchmod(file.fileno(), 0o640 if ours else 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() == 0 and target.parent == places.state:
        os.chown(target.parent, uid, gid)
    return draft
