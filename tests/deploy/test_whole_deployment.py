"""From a wallet to a published node that answers, and away again; what was paid for is counted by the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.keys import NodeKey, Wallet
from tests.deploy.scene import Scene, deployer, needs_ssh
from tests.node.agent import chat
from tests.programs import UP_LIMIT_S
from tests.stack import Stack, serve_gateway

pytestmark = [needs_ssh, pytest.mark.timeout(600)]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with deployer(tmp_path) as made:
        yield made


async def test_a_deployment_from_nothing_to_nothing(scene: Scene) -> None:
    dry = await scene.run("up", "--dry-run")
    assert dry.status == 0, dry.err
    assert "420,000 credits an hour, 10,080,000 a day" in dry.out and "nothing was spent" in dry.out
    assert await scene.charged() == {} and not scene.state.exists()

    first = await scene.run("up")
    assert first.status == 0, first.err
    assert "Published: https://localhost:" in first.out
    assert await scene.charged() == {"STORE": 1, "INSTANCE": 1}
    record = scene.record()
    assert record["keys"]["vm_hash"] == record["instance"]["envelope"]["item_hash"]
    await _answers(scene)

    again = await scene.run("up", image=False)  # which is not needed any more
    assert again.status == 0, again.err
    assert "handing over" not in again.out and "making the machine" not in again.out
    assert await scene.charged() == {"STORE": 1, "INSTANCE": 1}

    status = await scene.run("status")
    assert status.status == 0, status.out
    for said in (
        "published",
        "420,000 credits an hour",
        "processed",
        "running; SSH at",
        "ready",
        "accepted, its key proven",
    ):
        assert said in status.out, status.out
    assert "posted" in (await scene.run("logs")).out
    assert (await scene.run("logs", "--operator-key", str(scene.folder / "operator.key"))).out == "cloud-init: done\n"
    _no_secret_is_kept(scene)

    gone = await scene.run("destroy")
    assert gone.status == 0, gone.err
    assert "Still paid for: the image" in gone.out
    more = await scene.run("destroy", "--with-image")
    assert more.status == 0 and "Nothing of gpu1 is paid for any more" in more.out
    assert (await scene.run("destroy", "--with-image")).status == 0
    assert await scene.hosts.counts("erased") == 1 and await scene.hosts.counts("machines") == 0
    ended = await scene.run("status")
    assert ended.status == 1
    for said in ("destroyed", "forgotten", "unknown to its host", "retired"):
        assert said in ended.out, ended.out


async def test_a_machine_that_only_the_network_knows_is_taken_over(scene: Scene) -> None:
    first = await scene.run("up", "--storage", "ipfs")
    assert first.status == 0, first.err
    item_hash = scene.record()["instance"]["envelope"]["item_hash"]
    (scene.state / "gpu1" / "deployment.json").unlink()
    again = await scene.run("up")
    assert again.status == 0, again.err
    assert f"taking over the machine {item_hash}" in again.out
    assert await scene.charged() == {"STORE": 1, "INSTANCE": 1}
    assert scene.record()["instance"]["envelope"]["item_hash"] == item_hash


async def test_a_host_that_goes_away_is_given_up_and_only_one_machine_is_paid_for(scene: Scene) -> None:
    first, second = (host["hash"] for host in await scene.hosts.listed())
    await scene.fault("hosts", "/control/allocation/notify", "before", "500")
    refused = await scene.run("up")
    assert refused.status == 1 and "Run it again" in refused.err
    before = scene.record()
    await scene.clear("hosts")
    await scene.hosts.control(away=[first])
    gone = await scene.run("up")
    assert gone.status == 1 and "--another-host" in gone.err, gone.err
    elsewhere = await scene.run("up", "--another-host")
    assert elsewhere.status == 0, elsewhere.err
    after = scene.record()
    assert (before["plan"]["host_hash"], after["plan"]["host_hash"]) == (first, second)
    given_up = before["instance"]["envelope"]["item_hash"]
    async with scene.session.get(f"{scene.aleph.url}/api/v0/messages/{given_up}") as response:
        assert (await response.json())["status"] == "forgotten"
    assert await scene.charged() == {"STORE": 1, "INSTANCE": 2}, "one of which costs nothing any more"


async def _answers(scene: Scene) -> None:
    """A gateway elsewhere that trusts the operator answers a chat by the node, and by its item hash too."""
    made = Stack(scene.folder, scene.aleph.registry, scene.operator.address)
    item_hash = scene.record()["instance"]["envelope"]["item_hash"]
    NodeKey.new().save(scene.folder / "gateway.key")
    async with serve_gateway(made, ("--open",), proven=1):
        status, body = await chat(scene.session, made.gateway_url, "tiny", "hello")
        assert status == 200, body
        async with asyncio.timeout(UP_LIMIT_S):  # whose machine it is has to be asked of the network first
            while (await chat(scene.session, f"{made.gateway_url}/vm/{item_hash}", "tiny", "hello"))[0] != 200:
                pass


def _no_secret_is_kept(scene: Scene) -> None:
    """Neither the operator's key nor the private SSH key is anywhere but in its own file."""
    secret = (scene.folder / "operator.key").read_text().strip()
    assert Wallet.load(scene.folder / "operator.key").address == scene.operator.address
    private = (scene.folder / "id").read_text().splitlines()[2]
    for path in scene.folder.rglob("*"):
        if path.is_file() and path.name not in ("operator.key", "id"):
            content = path.read_bytes()
            assert secret.encode() not in content and private.encode() not in content, path
    assert (scene.state / "gpu1").stat().st_mode & 0o77 == 0
    assert (scene.state / "gpu1" / "deployment.json").stat().st_mode & 0o77 == 0
