"""The fake compute hosts keep the real ones' rules; else what is tested against them proves nothing."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.aleph import sdk
from deploy.aleph.host import Host
from deploy.aleph.network import Network, Refusal
from deploy.aleph.plan_model import Gpu, Plan
from deploy.aleph.web import Web
from registry.commands.failure import CommandError
from registry.keys import Wallet
from tests.deploy.scene import CREDITS, Scene, deployer, needs_ssh

pytestmark = needs_ssh


@dataclass
class Asking:
    """A customer of the first host."""

    scene: Scene
    web: Web
    network: Network
    host: Host
    image: str

    async def signed(self, wallet: Wallet | None = None, **changed: Any) -> dict[str, Any]:
        wallet = wallet or self.scene.operator
        entry = (await self.scene.hosts.listed())[0]
        plan = Plan(
            host_hash=entry["hash"], host_name="h", host_url=entry["address"], vcpus=6, memory_mib=36864,
            disk_mib=368640, gpu=Gpu.model_validate(entry["compatible_gpus"][0]),
        )  # fmt: skip
        key = (self.scene.folder / "id.pub").read_text().strip()
        content = sdk.instance_content(
            plan.model_copy(update=changed),
            owner=wallet.address,
            name="n",
            image=self.image,
            ssh_keys=[key],
            now=time.time(),
        )
        return await sdk.sign(self.scene.aleph.url, wallet, "INSTANCE", content, "WAYPOST")


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    async with deployer(tmp_path) as scene:
        web = Web(20)
        network = Network(web, scene.aleph.url, scene.hosts.url)
        file = scene.folder / "image.raw"
        content = sdk.store_content(
            hashlib.sha256(file.read_bytes()).hexdigest(), owner=scene.operator.address, ipfs=False, now=time.time()
        )
        envelope = await sdk.sign(scene.aleph.url, scene.operator, "STORE", content, "WAYPOST")
        await network.upload(envelope, file, ipfs=False, settle_s=20)
        entry = (await scene.hosts.listed())[0]
        host = Host(web, entry["address"].rstrip("/"), entry["name"], scene.aleph.url)
        yield Asking(scene, web, network, host, envelope["item_hash"])
        await web.close()


async def test_only_what_is_paid_for_is_started_and_only_its_owner_erases_it(asking: Asking) -> None:
    envelope = await asking.signed()
    with pytest.raises(CommandError, match="refuses to start the machine"):
        await asking.host.start(envelope["item_hash"])  # not posted
    await asking.network.post(envelope, 20)
    await asking.scene.aleph.control(credits={asking.scene.operator.address: 1})
    with pytest.raises(CommandError, match="too few credits"):
        await asking.host.start(envelope["item_hash"])
    await asking.scene.aleph.control(credits={asking.scene.operator.address: CREDITS})
    for _ in range(2):
        await asking.host.start(envelope["item_hash"])
    assert await asking.scene.hosts.counts("started") == 1
    running = await asking.host.running(envelope["item_hash"])
    assert running is not None and running.running and running.addresses[1][0] == "127.0.0.1"
    with pytest.raises(CommandError, match="Unauthorized"):
        await asking.host.erase(Wallet.new(), envelope["item_hash"])
    assert await asking.host.erase(asking.scene.operator, envelope["item_hash"]) is True
    assert await asking.host.erase(asking.scene.operator, envelope["item_hash"]) is False


async def test_a_machine_for_another_host_or_beside_another_is_refused(asking: Asking) -> None:
    elsewhere = await asking.signed(host_hash="ab" * 32)
    await asking.network.post(elsewhere, 20)
    with pytest.raises(CommandError, match="refuses"):
        await asking.host.start(elsewhere["item_hash"])
    first, second = await asking.signed(), await asking.signed()
    for envelope in (first, second):
        await asking.network.post(envelope, 20)
    await asking.host.start(first["item_hash"])
    with pytest.raises(CommandError, match="InsufficientResources"):
        await asking.host.start(second["item_hash"])
    with pytest.raises(CommandError, match="no room"):
        await asking.host.reserve(asking.scene.operator, {"not": "a machine"})


async def test_the_network_takes_a_machine_only_with_a_days_credits_and_a_known_image(asking: Asking) -> None:
    await asking.scene.aleph.control(credits={asking.scene.operator.address: 10_079_999})
    with pytest.raises(Refusal) as refused:
        await asking.network.post(await asking.signed(), 20)
    assert refused.value.code == 6 and refused.value.details["errors"][0]["account_credits"] == "10079999"
    await asking.scene.aleph.control(credits={asking.scene.operator.address: CREDITS})
    asking.image = "cd" * 32
    with pytest.raises(TimeoutError, match="pending"):
        await asking.network.post(await asking.signed(), 1)


async def test_the_same_message_again_is_the_same_machine(asking: Asking) -> None:
    envelope = await asking.signed()
    for _ in range(3):
        await asking.network.post(envelope, 20)
    assert await asking.scene.charged() == {"STORE": 1, "INSTANCE": 1}
