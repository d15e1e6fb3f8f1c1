"""`/vm/<item hash>`: works for who owns that machine, as a board proves it, and for nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.ownership import Ownership
from registry.advert import Envelope, Kind, Vm
from registry.keys import NodeKey
from registry.trust import Believed
from tests.gateway.adverts import NOW, address, believed, offer
from tests.gateway.held_node import Held, held_node
from tests.gateway.memory_board import MemoryHost
from tests.gateway.scene import Operator
from tests.gateway.whole_gateway import Whole, whole_gateway
from tests.programs import until

MACHINE = hashlib.sha256(b"machine").hexdigest()
VM = Vm(platform="aleph", item_hash=MACHINE)


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    async with held_node() as made:
        yield made


async def _status(whole: Whole, vm: str = MACHINE) -> int:
    async with whole.session.get(f"{whole.url}/vm/{vm}/v1/models") as response:
        return response.status


async def _becomes(whole: Whole, status: int) -> None:
    for _ in range(1000):
        if await _status(whole) == status:
            return
    raise AssertionError(f"never {status}")


async def test_the_owner_s_node_is_reached_and_a_thief_s_is_not(tmp_path: Path, node: Held) -> None:
    owner, thief = Operator(""), Operator("")
    host = MemoryHost("memory://", [], owners={MACHINE: owner.wallet.address})
    async with held_node() as stolen:
        await host.publish(thief.sign(stolen.key, stolen.url, "m", vm=VM).to_json())
        async with whole_gateway(tmp_path, [host], ("any",)) as whole:
            await until(lambda: bool(host.asked) and len(whole.follower.directory) == 1)
            await until(lambda: "owners=1" in repr(whole.follower.ownership))
            assert await _status(whole) == 404
            await host.publish(owner.sign(node.key, node.url, "m", vm=VM).to_json())
            await _becomes(whole, 200)
            body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
            async with whole.session.post(f"{whole.url}/vm/{MACHINE}/v1/chat/completions", json=body) as response:
                assert (response.status, response.headers["Waypost-Node"]) == (200, node.key.public)
            assert await _status(whole, "f" * 64) == 404
            assert host.asked == [MACHINE], "a proven owner is not asked for again"


async def test_a_node_that_has_not_proven_itself_is_not_found(tmp_path: Path) -> None:
    owner = Operator("")
    host = MemoryHost("memory://", [], owners={MACHINE: owner.wallet.address})
    await host.publish(owner.sign(NodeKey.new(), "http://127.0.0.1:9", "m", vm=VM).to_json())
    async with whole_gateway(tmp_path, [host], ("any",)) as whole:
        await until(lambda: "owners=1" in repr(whole.follower.ownership))
        assert await _status(whole) == 404


async def test_of_the_owner_s_nodes_the_newest_issued_proven_one_is_meant(tmp_path: Path, node: Held) -> None:
    owner = Operator("")
    host = MemoryHost("memory://", [], owners={MACHINE: owner.wallet.address})
    async with held_node() as newer:
        now = int(time.time())
        await host.publish(owner.sign(newer.key, newer.url, "new", vm=VM).to_json())
        await host.publish(owner.sign(node.key, node.url, "old", vm=VM, issued_at=now - 60).to_json())
        await host.publish(owner.sign(NodeKey.new(), "http://127.0.0.1:9", "dead", vm=VM, issued_at=now + 60).to_json())
        async with whole_gateway(tmp_path, [host], ("any",)) as whole:
            await until(lambda: whole.prover.proven_count == 2)
            await _becomes(whole, 200)
            async with whole.session.get(f"{whole.url}/vm/{MACHINE}/v1/models") as response:
                assert [item["id"] for item in (await response.json())["data"]] == ["new"]


# the questions themselves


def _claiming(operator: str, machine: str, explicit: bool = False, platform: str = "aleph") -> Believed:
    one = believed(operator, f"{operator}-{machine[:8]}", offer("m"), explicit=explicit)
    vm = Vm(platform=platform, item_hash=machine)
    return Believed(one.advert.model_copy(update={"vm": vm}), Envelope(Kind.ADVERT, "", ""), NOW + 600, explicit)


def _key(one: Believed) -> tuple[str, str]:
    return one.advert.operator, one.advert.node


@contextlib.asynccontextmanager
async def _asking(clock: list[float], *hosts: MemoryHost) -> AsyncIterator[Ownership]:
    ownership = Ownership(hosts, lambda: clock[0])
    running = asyncio.create_task(ownership.run())
    try:
        yield ownership
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_one_honest_host_is_enough() -> None:
    one = _claiming("o", MACHINE)
    stalling, away = MemoryHost("memory://1", [], stalls=True), MemoryHost("memory://2", [], away=True)
    honest = MemoryHost("memory://3", [], owners={MACHINE: address("o")})
    async with _asking([NOW], stalling, away, honest) as ownership:
        ownership.follow(_key(one), one)
        assert not ownership.owns(one)
        await until(lambda: ownership.owns(one))
        assert not ownership.owns(_claiming("thief", MACHINE))


async def test_only_what_is_claimed_of_aleph_is_asked_for() -> None:
    host, clock = MemoryHost("memory://", []), [NOW]
    wrong = [_claiming("o", MACHINE, platform="elsewhere"), _claiming("p", "not-a-hash")]
    async with _asking(clock, host) as ownership:
        for one in (*wrong, _claiming("q", MACHINE)):
            ownership.follow(_key(one), one)
        await until(lambda: host.asked == [MACHINE])


async def test_what_is_not_proven_is_asked_again_later_and_later_and_no_more_when_nobody_claims_it() -> None:
    host, clock, one = MemoryHost("memory://", []), [NOW], _claiming("o", MACHINE)
    async with _asking(clock, host) as ownership:
        ownership.follow(_key(one), one)
        for count, wait in enumerate((0, 5, 10, 20, 40), 1):
            clock[0] += wait
            await until(lambda: len(host.asked) == count and "asking=0" in repr(ownership))  # noqa: B023
        ownership.follow(_key(one), None)
        other = _claiming("p", hashlib.sha256(b"other").hexdigest())
        ownership.follow(_key(other), other)
        clock[0] += 10_000
        await until(lambda: len(host.asked) > 5)
        assert host.asked.count(MACHINE) == 5


async def test_strangers_do_not_delay_those_who_were_named() -> None:
    named = _claiming("o", MACHINE, explicit=True)
    host, clock = MemoryHost("memory://", [], owners={MACHINE: address("o")}), [NOW]
    async with _asking(clock, host) as ownership:
        for number in range(5000):
            fake = _claiming("thief", hashlib.sha256(b"%d" % number).hexdigest())
            ownership.follow(_key(fake), fake)
        ownership.follow(_key(named), named)
        await until(lambda: ownership.owns(named))
        assert len(host.asked) < 10
