"""What a worker knows is what its parent knows: soon, whole, and at a bounded price however slow the worker is."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from gateway.directory import Directory
from gateway.workers.feed import Feed
from gateway.workers.replica import Replica
from registry.advert import Curation, Envelope, Vm
from registry.keys import NodeKey, Wallet
from registry.signing import sign_curation
from relay.errors import ApiError
from tests.gateway.adverts import digest, offer
from tests.gateway.copies import LIMIT_S, original
from tests.gateway.held_node import Held, held_node
from tests.gateway.memory_board import MemoryHost
from tests.gateway.scene import Operator
from tests.programs import until

NOWHERE = "http://127.0.0.1:9"
MACHINE = hashlib.sha256(b"machine").hexdigest()
CHAT = "chat.completions"


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost("memory://", [])


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    async with held_node() as made:
        yield made


def _list(curator: Wallet, seq: int, operators: tuple[str, ...], **more: dict[str, str]) -> Envelope:
    now = int(time.time())
    fields = {"models": {}, "slugs": {}, **more}
    curation = Curation(
        curator=curator.address, seq=now * 1000 + seq, issued_at=now, expires_at=now + 3600, operators=operators,
        nodes=(), **fields,
    )  # fmt: skip
    return sign_curation(curation, curator)


def _status(directory: Directory, name: str) -> int:
    try:
        directory.resolve(name, CHAT, time.time())
    except ApiError as error:
        return error.status
    return 200


def _behind(directory: Directory, vm: str) -> list[str]:
    """The nodes that `/vm/{vm}` leads to."""
    try:
        return [one.node for one in directory.offered_at(vm, time.time())]
    except ApiError:
        return []


async def test_proofs_and_owners_reach_a_copy_after_the_adverts(tmp_path: Path, host: MemoryHost, node: Held) -> None:
    operator, thief = Operator(""), Operator("")
    host.owners[MACHINE] = operator.wallet.address
    async with original(tmp_path, host, "any") as first, first.copy() as copy:
        replica = copy.replica
        vm = Vm(platform="aleph", item_hash=MACHINE)
        await host.publish(operator.sign(node.key, node.url, "m", vm=vm).to_json())
        await until(lambda: replica.proven_count == 1, limit_s=LIMIT_S)
        assert first.same(replica)
        await until(lambda: _behind(replica.directory, MACHINE) == [node.key.public], limit_s=LIMIT_S)
        await host.publish(thief.sign(NodeKey.new(), NOWHERE, "m", vm=vm).to_json())
        await until(lambda: len(replica.directory) == 2, limit_s=LIMIT_S)
        assert _behind(replica.directory, MACHINE) == [node.key.public]
        await host.publish(operator.sign(node.key, node.url).to_json())
        await until(lambda: copy.gone == [node.key.public], limit_s=LIMIT_S)
        assert (replica.proven_count, len(replica.directory)) == (0, 1)


async def test_a_copy_that_is_made_late_has_everything_and_the_names_of_what_is_gone(
    tmp_path: Path, host: MemoryHost, node: Held
) -> None:
    operator, curator = Operator(""), Wallet.new()
    gone = NodeKey.new()
    slugs = {"fast": node.key.public}
    await host.publish(_list(curator, 1, (operator.wallet.address,), slugs=slugs, models={"m": digest("ab")}).to_json())
    await host.publish(operator.sign(gone, NOWHERE, "retired").to_json())
    async with original(tmp_path, host, f"curator:{curator.address}", "any") as first:
        await until(lambda: len(first.follower.directory) == 1, limit_s=LIMIT_S)
        await host.publish(operator.sign(gone, NOWHERE).to_json())
        for weights in ("ab", "cd"):
            stranger = Operator("")
            await host.publish(stranger.sign(NodeKey.new(), NOWHERE, offers=[offer("m", weights)]).to_json())
        await host.publish(operator.sign(node.key, node.url, "mine").to_json())
        await until(lambda: first.prover.proven_count == 1 and len(first.follower.directory) == 3, limit_s=LIMIT_S)
        async with first.copy() as copy:
            replica = copy.replica
            assert first.same(replica)
            assert [_status(replica.directory, name) for name in ("m", "mine", "retired", "other")] == [
                200, 200, 503, 404
            ]  # fmt: skip
            found = replica.directory.resolve("m", CHAT, time.time()).candidates
            assert {one.offer.weights_sha256 for one in found} == {digest("ab")}
            assert _behind(replica.directory, "fast") == [node.key.public]
            await until(lambda: replica.ready.is_set(), limit_s=LIMIT_S)
            assert [one.url for one in replica.registries()] == ["memory://"]


def _are(replica: Replica, expected: tuple[int, int]) -> bool:
    return (_status(replica.directory, "a"), _status(replica.directory, "b")) == expected


async def test_another_list_of_a_curator_takes_effect_as_a_whole(tmp_path: Path, host: MemoryHost) -> None:
    curator, one, other = Wallet.new(), Operator(""), Operator("")
    nodes = [NodeKey.new(), NodeKey.new()]
    for operator, key, model in ((one, nodes[0], "a"), (other, nodes[1], "b")):
        await host.publish(operator.sign(key, NOWHERE, model).to_json())
    lists = [
        (_list(curator, 1, (one.wallet.address,), slugs={"best": "a"}), (200, 404)),
        (_list(curator, 2, (other.wallet.address,), slugs={"best": "b"}), (503, 200)),
        (_list(curator, 3, (one.wallet.address, other.wallet.address), slugs={"best": "a"}), (200, 200)),
        (_list(curator, 4, ()), (503, 503)),
    ]
    async with original(tmp_path, host, f"curator:{curator.address}") as first, first.copy() as copy:
        replica = copy.replica
        for curation, expected in lists:
            await host.publish(curation.to_json())
            await until(partial(_are, replica, expected), limit_s=LIMIT_S)
            await first.becomes_same(replica)
        assert "whole" in repr(replica)
        assert set(copy.gone) == {key.public for key in nodes}


async def test_a_copy_that_takes_nothing_costs_a_key_a_node_and_catches_up(tmp_path: Path, host: MemoryHost) -> None:
    nodes, operator = [NodeKey.new() for _ in range(60)], Operator("")
    async with original(tmp_path, host, "any") as first, first.copy(held=True) as slow, first.copy() as quick:
        for turn in range(30):
            for key in nodes:
                models = [f"m{turn}"] if turn % 3 else []
                await host.publish(operator.sign(key, NOWHERE, *models, region="x" * 100).to_json())
            await until(lambda size=60 if turn % 3 else 0: len(first.follower.directory) == size, limit_s=LIMIT_S)
            await first.becomes_same(quick.replica)
        assert _due(slow.feed) <= 60
        assert slow.channel.unsent_bytes < 500_000
        assert "empty" in repr(slow.replica)
        slow.free.set()
        await first.becomes_same(slow.replica)
        assert "whole" in repr(slow.replica)


def _due(feed: Feed) -> int:
    return int(repr(feed).partition("due=")[2].partition(" ")[0])


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_copies_become_the_same(tmp_path: Path, host: MemoryHost, seed: int) -> None:
    rng = random.Random(seed)
    curator, operators = Wallet.new(), [Operator("") for _ in range(3)]
    nodes = [NodeKey.new() for _ in range(5)]
    async with original(tmp_path, host, f"curator:{curator.address}", "any") as first, first.copy() as early:
        for step in range(120):
            if rng.random() < 0.1:
                named = tuple(sorted(o.wallet.address for o in operators if rng.random() < 0.5))
                await host.publish(_list(curator, step, named, slugs={"best": rng.choice("abc")}).to_json())
            operator, key = rng.choice(operators), rng.choice(nodes)
            models = rng.sample("abc", rng.randrange(3))
            await host.publish(operator.sign(key, NOWHERE, *models).to_json())
            if step % 40 == 20:
                async with first.copy() as passing:
                    await first.becomes_same(passing.replica)
        await until(lambda: host.fetched == len(host.postings), limit_s=LIMIT_S)
        async with first.copy() as late:
            for copy in (early, late):
                await first.becomes_same(copy.replica)
                for name in "abc":
                    assert _status(copy.replica.directory, name) in (_status(first.follower.directory, name), 404)
