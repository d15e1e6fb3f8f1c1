"""Each step that the network and the hosts have a part in fails: killed, refused, before and after; then it resumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.failing import fails_and_resumes, paid_once
from tests.deploy.scene import deployer, needs_ssh

pytestmark = [needs_ssh, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("place", "at"),
    [
        ("list", "GET /crns.json"),
        ("aleph", "POST /api/v0/price/estimate"),
        ("hosts", "POST /control/reserve_resources"),
        ("aleph", "POST /api/v0/storage/add_file"),
        ("aleph", "POST /api/v0/messages INSTANCE"),
        ("hosts", "POST /control/allocation/notify"),
        ("hosts", "GET /v2/about/executions/list"),
    ],
)
async def test_a_step_that_fails_is_done_by_the_next_run_and_nothing_is_paid_twice(
    tmp_path: Path, place: str, at: str
) -> None:
    async with deployer(tmp_path, hosts=4) as scene:
        await fails_and_resumes(scene, place, at)


async def test_a_network_that_does_not_answer_in_time_is_told_of_and_charges_once(tmp_path: Path) -> None:
    async with deployer(tmp_path) as scene:
        for place, at in (("aleph", "POST /api/v0/messages INSTANCE"), ("hosts", "POST /control/allocation/notify")):
            await scene.fault(place, at, "after", "hold")
            ended = await scene.run("up", "--request-s", "2")
            assert ended.status == 1 and "did not answer within 2 s (--request-s)" in ended.err, ended.err
            await scene.clear(place)
        last = await scene.run("up")
        assert last.status == 0, last.err
        await paid_once(scene)
