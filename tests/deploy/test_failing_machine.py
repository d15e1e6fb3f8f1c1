"""The steps that the machine has a part in fail; and machines that are not what they should be."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.deploy.failing import fails_and_resumes, open_words
from tests.deploy.scene import Scene, deployer, needs_ssh, new_ssh_key

pytestmark = [needs_ssh, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("place", "at"),
    [("machine", "keys"), ("aleph", "POST /api/v0/messages AGGREGATE"), ("machine", "setup")],
)
async def test_a_step_that_fails_is_done_by_the_next_run_and_nothing_is_paid_twice(
    tmp_path: Path, place: str, at: str
) -> None:
    async with deployer(tmp_path) as scene:
        await fails_and_resumes(scene, place, at)


async def test_what_a_machine_can_have_wrong_is_named_with_its_fix(tmp_path: Path) -> None:
    async with deployer(tmp_path) as scene:
        await _refused_key(scene)
        await _no_waypost_setup(scene)
        await _nothing_secret_on_a_command_line(scene)
        await _configuration_that_is_refused(scene)
        await _challenge_that_fails(scene)
        last = await scene.run("up")
        assert last.status == 0, last.err
        await _another_host_key(scene)


async def _refused_key(scene: Scene) -> None:
    new_ssh_key(scene.folder / "other")
    await scene.fault("hosts", "/control/allocation/notify", "after", "500")
    assert (await scene.run("up")).status == 1
    await scene.clear("hosts")
    ended = await scene.run("up", "--ssh-key", str(scene.folder / "other.pub"), "--ssh-s", "1")
    assert ended.status == 1
    assert "does not let your key in" in ended.err and "ssh-add" in ended.err and "--ssh-s" in ended.err, ended.err


async def _no_waypost_setup(scene: Scene) -> None:
    scene.hosts.fault("keys", "before", "missing")
    ended = await scene.run("up")
    assert ended.status == 1
    assert "has no waypost-setup" in ended.err and "another --image" in ended.err, ended.err


async def _nothing_secret_on_a_command_line(scene: Scene) -> None:
    scene.hosts.fault("keys", "before", "hold")
    process = await scene.start("up", "--image", str(scene.folder / "image.raw"), "--yes")
    while not await scene.met("machine"):
        assert process.returncode is None
        await asyncio.sleep(0.05)
    said = open_words(process.pid)
    assert "waypost-setup" in said, "ssh is among them"
    assert (scene.folder / "operator.key").read_text().strip() not in said
    process.kill()
    await process.communicate()
    await scene.clear("machine")


async def _configuration_that_is_refused(scene: Scene) -> None:
    ended = await scene.run("up", "--model", "tiny=nowhere://x")
    assert ended.status == 1
    assert "waypost-setup: nothing is changed" in ended.err and "nowhere" in ended.err, ended.err


async def _challenge_that_fails(scene: Scene) -> None:
    """Without leave for private addresses a gateway does not go to this one."""
    ended = await scene.run("up", "--no-allow-private", "--publish-s", "1")
    assert ended.status == 1
    assert "--publish-s" in ended.err and "waypost deploy logs gpu1" in ended.err, ended.err


async def _another_host_key(scene: Scene) -> None:
    known = scene.state / "gpu1" / "known_hosts"
    kind, key = known.read_text().split()[1:3]
    other = key[:-8] + ("AAAAAAAA" if key[-8:] != "AAAAAAAA" else "BBBBBBBB")
    known.write_text(known.read_text().replace(f"{kind} {key}", f"{kind} {other}"))
    ended = await scene.run("up")
    assert ended.status == 1
    assert "another SSH host key than at first contact" in ended.err and "known_hosts" in ended.err, ended.err
    record = json.loads((scene.state / "gpu1" / "deployment.json").read_text())
    assert record["published_at"] is not None
