"""What ends before a machine is there: each names the option and the fix, and costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.keys import Wallet
from tests.commands import Ended
from tests.deploy.scene import CREDITS, Scene, deployer, needs_ssh

pytestmark = [needs_ssh, pytest.mark.timeout(600)]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with deployer(tmp_path) as made:
        yield made


def _refused(ended: Ended, *said: str) -> None:
    assert ended.status in (1, 2), ended.out
    assert "Traceback" not in ended.err, ended.err
    for words in said:
        assert words in ended.err, ended.err


async def test_what_cannot_be_had_is_refused_before_anything_is_spent(scene: Scene) -> None:
    await scene.aleph.control(credits={scene.operator.address: 5000})
    _refused(await scene.run("up"), "5,000 credits are too few", "10,080,000", "Nothing was spent")
    await scene.aleph.control(credits={scene.operator.address: CREDITS})
    _refused(await scene.run("up", "--max-day", "1000"), "--max-day 1000", "10,080,000 credits a day")
    _refused(await scene.run("up", "--gpu", "H200"), "no host has a free GPU like 'H200'", "waypost deploy offers")
    _refused(await scene.run("up", "--region", "mars"), "--region 'mars'")
    _refused(await scene.run("up", "--image", "ab" * 32), f"--image {'ab' * 32}: unknown to the network")
    _refused(await scene.run("up", "--image", "nowhere.raw"), "--image", "neither a file nor an item hash")
    _refused(await scene.run("up", "--ssh-key", str(scene.folder / "id")), "--ssh-key", "no public SSH key", ".pub")
    _refused(await scene.run("up", "--no-yes"), "give --yes")
    _refused(await scene.run("up", "--yes", image=False), "--image: required")
    assert await scene.charged() == {} and await scene.hosts.counts("started") == 0


async def test_a_price_that_rises_is_shown_again_before_it_is_paid(scene: Scene) -> None:
    await scene.fault("hosts", "/control/reserve_resources", "before", "hold")
    await scene.killed(lambda: scene.met("hosts"))  # agreed to, and not paid
    await scene.clear("hosts")
    await scene.aleph.control(prices=2)
    _refused(await scene.run("up", "--no-yes"), "give --yes")
    dearer = await scene.run("up", "--max-day", "11000000")
    assert "The price has changed since it was agreed to: 420,000" in dearer.out
    _refused(dearer, "--max-day 1.1e+07")
    assert await scene.charged() == {}


async def test_credits_that_the_network_finds_too_few_are_told_and_the_same_message_is_taken_later(
    scene: Scene,
) -> None:
    """The balance falls between what was shown and what is paid."""
    await scene.fault("aleph", "POST /api/v0/messages INSTANCE", "before", "hold")
    await scene.killed(lambda: scene.met("aleph"))
    await scene.clear("aleph")
    await scene.aleph.control(credits={scene.operator.address: 100})
    _refused(await scene.run("up"), "too few credits for the machine", "Nothing was charged")
    item_hash = scene.record()["instance"]["envelope"]["item_hash"]
    await scene.aleph.control(credits={scene.operator.address: CREDITS})
    await scene.fault("hosts", "/control/allocation/notify", "before", "500")
    _refused(await scene.run("up"), "Run it again")
    assert scene.record()["instance"] == {**scene.record()["instance"], "settled": True}
    assert scene.record()["instance"]["envelope"]["item_hash"] == item_hash
    assert await scene.charged() == {"STORE": 1, "INSTANCE": 1}


async def test_a_host_without_room_is_left_out_of_the_next_choice(scene: Scene) -> None:
    first, second = (host["hash"] for host in await scene.hosts.listed())
    await scene.hosts.control(full=[first])
    _refused(await scene.run("up"), "has no room", "nothing was spent", "another host is chosen")
    assert await scene.charged() == {}
    await scene.fault("aleph", "add_file", "before", "500")
    _refused(await scene.run("up"), "answered 500")
    assert scene.record()["plan"]["host_hash"] == second


async def test_two_at_once_a_key_of_somebody_else_and_another_wish_are_refused(scene: Scene) -> None:
    await scene.fault("aleph", "POST /api/v0/messages INSTANCE", "after", "hold")
    process = await scene.start("up", "--image", str(scene.folder / "image.raw"), "--yes")
    while not await scene.met("aleph"):  # noqa: ASYNC110 - what is awaited is in another process
        await asyncio.sleep(0.05)
    _refused(await scene.run("up"), "another waypost works on 'gpu1' now")
    process.kill()
    await process.communicate()
    await scene.clear("aleph")
    _refused(await scene.run("up", "--disk-mib", "400000"), "--disk-mib: gpu1 was made with None")
    Wallet.new().save(scene.folder / "other.key")
    _refused(await scene.run("destroy", "--operator-key", str(scene.folder / "other.key")), "--operator-key")
    _refused(await scene.run("status", name="gpu2"), "no deployment 'gpu2'", "there is: gpu1")
    assert await scene.charged() == {"STORE": 1, "INSTANCE": 1}
    gone = await scene.run("destroy", "--with-image")
    assert gone.status == 0, gone.err
    assert (await scene.run("destroy", "--with-image")).status == 0


async def test_destroy_tells_what_is_still_paid_for_until_all_is_gone(scene: Scene) -> None:
    await scene.fault("hosts", "/control/allocation/notify", "after", "500")
    assert (await scene.run("up")).status == 1
    await scene.clear("hosts")
    await scene.fault("hosts", "/erase", "before", "500")
    await scene.fault("aleph", "POST /api/v0/messages FORGET", "before", "500")
    first = await scene.run("destroy")
    _refused(first, "not known to be erased", "the machine is STILL PAID FOR", "run destroy again")
    assert scene.record()["ended_at"] is None
    second = await scene.run("destroy")
    assert second.status == 0, second.err
    assert await scene.hosts.counts("machines") == 0 and scene.record()["ended_at"] is not None
    await scene.clear("hosts")
    await scene.fault("hosts", "/control/allocation/notify", "before", "500")
    anew = await scene.run("up")
    _refused(anew, "Run it again")
    assert "uploading" not in anew.out, "the image is there still"
    assert await scene.charged() == {"STORE": 1, "INSTANCE": 2}
