"""What the kernel says of a running container's first process: whose it is, and what it may do."""

from __future__ import annotations

from pathlib import Path

from tests.container.engine import Container


def check(container: Container) -> None:
    """AssertionError names what it may do and should not."""
    pid, name = container.first_pid(), container.service.name
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    user, _, group = container.image.user.partition(":")
    assert (set(status["Uid"]), set(status["Gid"])) == ({user}, {group}), f"{name} runs as {status['Uid']}"
    assert status["Groups"] == [group], f"{name} is in the groups {status['Groups']}"
    for held in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert int(status[held][0], 16) == 0, f"{name} has {held} {status[held]}"
    assert status["NoNewPrivs"] == ["1"], f"{name} may gain rights"
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    roots = [mount[5] for mount in mounts if mount[4] == "/"]
    assert roots and "ro" in roots[-1].split(","), f"{name} has a root that it can write: {roots}"
