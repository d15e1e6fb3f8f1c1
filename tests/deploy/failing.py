"""One step that fails in every way, a run of the command for each, and then one that goes through."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.deploy.scene import Scene

ONCE = {"STORE": 1, "INSTANCE": 1}


async def fails_and_resumes(scene: Scene, place: str, at: str) -> None:
    """Killed and refused, before the step's effect and after it; then the whole is there once, and paid for once.

    What had its effect is not asked for again: such a run does not meet its fault, and goes through. What is only read
    has no effect, so there is no after.
    """
    if place == "machine":
        await _until_there_is_a_machine(scene)
    moments = ("before",) if at.startswith("GET ") or "estimate" in at else ("before", "after")
    for when, act in itertools.product(moments, ("hold", "500")):
        await scene.fault(place, at, when, "fail" if place == "machine" and act == "500" else act)
        if act == "hold":
            await scene.killed(lambda: scene.met(place))
        else:
            ended = await scene.run("up")
            assert ended.status == (1 if await scene.met(place) else 0), f"{when} {at}: {ended.out}\n{ended.err}"
            assert "Traceback" not in ended.err, ended.err
        await scene.clear(place)
    last = await scene.run("up")
    assert last.status == 0, last.err
    await paid_once(scene)


async def paid_once(scene: Scene) -> None:
    """One image, one machine, on one host, and published."""
    assert await scene.charged() == ONCE
    assert await scene.hosts.counts("started") == 1 and await scene.hosts.counts("machines") == 1
    assert scene.record()["published_at"] is not None


async def _until_there_is_a_machine(scene: Scene) -> None:
    await scene.fault("hosts", "/control/allocation/notify", "after", "500")
    assert (await scene.run("up")).status == 1
    await scene.clear("hosts")


def open_words(pid: int) -> str:
    """What anybody on this machine may read of a process and its children: their command lines."""
    own = Path(f"/proc/{pid}/cmdline").read_text()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + "".join(open_words(int(child)) for child in children if os.path.exists(f"/proc/{child}"))
