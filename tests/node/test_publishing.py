"""What a node says of itself on a registry: when, with which seq, and that it stops saying it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from node.publishing.delegation import DelegationFile
from registry.advert import Advert, Delegation, Envelope
from registry.backend import fetch_all, open_backend
from registry.keys import NodeKey, Wallet
from registry.signing import open_signed, sign_delegation
from tests.node.agent import Agent, agent, options
from tests.programs import running, waypost

URL = "http://127.0.0.1:1"


class Operator:
    """An operator with a registry of its own, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wallet = Wallet.new()
        self.registry = f"sqlite:///{folder}/registry.db"
        self.seen: set[int] = set()  # of adverts, the seq of each

    def delegation(self, delegate: str, node: str | None = None, life_s: int = 3600, **changed: Any) -> dict[str, str]:
        now = int(time.time())
        made = Delegation(
            operator=self.wallet.address, delegate=delegate, node=node, issued_at=now - 10, expires_at=now + life_s,
            url_suffixes=changed.get("url_suffixes"),
        )  # fmt: skip
        return sign_delegation(made, self.wallet)

    async def adverts(self, registry: str = "") -> list[Advert]:
        """All adverts on the registry, oldest first, their signatures checked."""
        board = open_backend(registry or self.registry)
        try:
            opened = [open_signed(Envelope.parse(raw)) for raw in await fetch_all(board)]
        finally:
            await board.close()
        return [content for content in opened if isinstance(content, Advert)]

    async def advert(self, count: int, limit_s: float = 15) -> Advert:
        """The newest advert, once there have been that many; older ones may be tidied away meanwhile."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            found = await self.adverts()
            self.seen.update(advert.seq for advert in found)
            if len(self.seen) >= count:
                return found[-1]
            await asyncio.sleep(0.05)
        raise AssertionError(f"there were never {count} adverts")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@contextlib.asynccontextmanager
async def published(operator: Operator, program: Path, weights: Path, **changed: Any) -> AsyncIterator[Agent]:
    """A node over the stand-in that wants to publish; its delegate key is made at its first start."""
    table = {"registry": [operator.registry], "public_url": URL, "access": ["open"], "llama_server": str(program)}
    async with agent(operator.folder, {"small": {"uri": str(weights), "aliases": ["s"]}}, **table | changed) as made:
        yield made


def delegate(operator: Operator) -> str:
    return Wallet.load(operator.folder / "state/delegate.key").address


def put(operator: Operator, signed: dict[str, str]) -> None:
    (operator.folder / "state/delegation.json").write_text(json.dumps(signed))


def rename(old: Path, new: Path) -> None:
    old.rename(new)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_folder(path: Path) -> None:
    path.mkdir()


async def test_it_says_what_to_run_waits_for_the_delegation_and_publishes(
    operator: Operator, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    operator.wallet.save(operator.folder / "operator.key")
    async with published(operator, fake_llama, small_gguf) as node:
        said = await node.program.saw("waypost registry delegate")
        command = next(line for line in said.splitlines() if "registry delegate" in line).split()[1:]
        assert command[2] == delegate(operator)
        command[command.index("FILE")] = "operator.key"
        await waypost(*command, cwd=operator.folder)
        rename(operator.folder / "delegation.json", operator.folder / "state/delegation.json")
        advert = await operator.advert(1)
        async with session.get(f"{node.url}/.well-known/waypost/advert") as response:
            assert open_signed(Envelope.parse(await response.read())) == advert
        async with session.get(f"{node.url}/v1/models/small") as response:
            assert (await response.json())["operators"] == [operator.wallet.address]
    assert (advert.operator, advert.node, advert.url) == (operator.wallet.address, node.key, URL)
    (offer,) = advert.offers
    assert (offer.model, offer.aliases) == ("small", ("s",))
    assert offer.endpoints == ("chat.completions", "completions", "messages", "proxy", "responses")
    assert offer.weights_sha256 == sha256(small_gguf)
    assert offer.template_sha256 == hashlib.sha256(b"{{ messages }}").hexdigest()
    assert (offer.quantization, offer.context_length, offer.parallel) == ("Q4_K_M", 4096, 4)
    assert offer.warm
    assert 0 < advert.expires_at - advert.issued_at <= 3600


async def test_a_clean_stop_leaves_a_tombstone_and_seq_never_goes_back(
    operator: Operator, fake_llama: Path, small_gguf: Path
) -> None:
    async with published(operator, fake_llama, small_gguf) as node:
        await node.program.saw("registry delegate")
        put(operator, operator.delegation(delegate(operator)))
        first = await operator.advert(1)
    (tombstone,) = await operator.adverts()  # which tidied the first away
    assert (first.is_tombstone, tombstone.is_tombstone) == (False, True)
    operator.seen.add(tombstone.seq)
    seq_file = operator.folder / "state" / f"seq-{first.node}"
    ahead = tombstone.seq + 50_000  # as if the clock had been ahead before
    seq_file.write_text(str(ahead))
    async with published(operator, fake_llama, small_gguf) as node:
        again = await operator.advert(3)
        await node.program.stop(signal.SIGKILL)
    assert again.seq == ahead + 1
    assert int(seq_file.read_text()) == again.seq
    assert not (await operator.adverts())[-1].is_tombstone


async def test_a_delegation_for_somebody_else_is_not_used_and_a_better_one_is(
    operator: Operator, fake_llama: Path, small_gguf: Path
) -> None:
    async with published(operator, fake_llama, small_gguf) as node:
        await node.program.saw("registry delegate")
        ours = delegate(operator)
        put(operator, operator.delegation(Wallet.new().address))
        await node.program.saw(
            f"and this node's is {ours}; make one with: waypost registry delegate {ours}", limit_s=90
        )
        assert await operator.adverts() == []
        put(operator, operator.delegation(ours, node.key))
        assert (await operator.advert(1)).node == node.key


async def test_an_advert_ends_no_later_than_its_delegation(
    operator: Operator, fake_llama: Path, small_gguf: Path
) -> None:
    async with published(operator, fake_llama, small_gguf) as node:
        await node.program.saw("registry delegate")
        put(operator, operator.delegation(delegate(operator), life_s=30))
        advert = await operator.advert(1)
        assert advert.expires_at - advert.issued_at <= 30


async def test_it_serves_on_while_a_board_is_away_and_publishes_when_it_is_back(
    operator: Operator, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    late = operator.folder / "late"
    registries = [f"sqlite:///{late}/registry.db", operator.registry]
    async with published(operator, fake_llama, small_gguf, registry=registries) as node:
        await node.program.saw("registry delegate")
        put(operator, operator.delegation(delegate(operator)))
        first = await operator.advert(1)
        await node.program.saw("(unreachable); serving goes on")
        assert await standings(session, node.url) == ["unreachable", "posted"]
        make_folder(late)
        await node.program.saw(f"{registries[0]}: posted", limit_s=90)
        assert await operator.adverts(registries[0]) == [first]
        assert await standings(session, node.url) == ["posted", "posted"]


async def standings(session: aiohttp.ClientSession, url: str) -> list[str]:
    """What became of the newest advert on each board, as /health says it."""
    async with session.get(f"{url}/health") as response:
        assert response.status == 200
        return [board["state"] for board in (await response.json())["registries"]]


async def test_an_engine_that_stays_away_is_no_longer_offered(
    operator: Operator, fake_llama: Path, small_gguf: Path
) -> None:
    async with published(operator, fake_llama, small_gguf) as node:
        await node.program.saw("registry delegate")
        put(operator, operator.delegation(delegate(operator)))
        await operator.advert(1)
        rename(fake_llama, fake_llama.with_name("away"))
        (engine,) = node.engines()
        os.kill(engine, signal.SIGKILL)
        assert (await operator.advert(2)).is_tombstone
        rename(fake_llama.with_name("away"), fake_llama)
        back = await operator.advert(3, limit_s=60)
        assert [offer.model for offer in back.offers] == ["small"]


async def test_a_node_that_cannot_be_published_does_not_start(tmp_path: Path, small_gguf: Path) -> None:
    registry = [f"sqlite:///{tmp_path}/registry.db"]
    for changed, said in (
        ({"registry": registry, "public_url": URL}, "--registry needs --access"),
        ({"registry": registry, "access": ["open"]}, "--registry needs --public-url"),
        ({"registry": ["what://is"], "public_url": URL, "access": ["open"]}, "unknown scheme 'what'"),
        ({"registry": registry, "public_url": "https://h:443", "access": ["open"]}, "leave the default port 443 out"),
        ({"public_url": "http://169.254.169.254"}, "169.254.169.254"),
    ):
        words = options(tmp_path, {"small": {"uri": str(small_gguf)}}, **changed)
        async with running(words, tmp_path / "log.txt") as program:
            assert await asyncio.wait_for(program.process.wait(), 90) in (1, 2)
            assert said in program.output().splitlines()[-1]
            assert "Traceback" not in program.output()


DELEGATE = "0x" + "1" * 40
NODE = NodeKey.new().public


def test_a_delegation_is_read_again_only_when_the_file_changes(tmp_path: Path, operator: Operator) -> None:
    path = tmp_path / "d.json"
    clock = [time.time()]
    file = DelegationFile(path, DELEGATE, NODE, URL, lambda: clock[0])
    assert file.current() is None
    path.write_text(json.dumps(operator.delegation(DELEGATE, NODE)))
    mandate = file.current()
    assert mandate is not None
    assert file.current() is mandate
    clock[0] += 3601
    assert file.current() is None
    clock[0] -= 3601
    path.unlink()
    assert file.current() is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"delegate": "0x" + "2" * 40}, f"names the delegate 0x{'2' * 40}, and this node's is {DELEGATE}"),
        ({"node": NodeKey.new().public}, f"and this is {NODE}"),
        ({"life_s": -5}, "has expired"),
        ({"url_suffixes": ("example.org",)}, "does not cover http://127.0.0.1:1"),
        ("{}", 'it is not {"text", "signature"}'),
        ('{"text": "{}", "signature": "0x"}', "cannot be used (malformed"),
        ("not JSON", "cannot be used (Expecting value"),
    ],
    ids=["delegate", "node", "life", "address", "no text", "malformed", "no JSON"],
)
def test_a_delegation_that_does_not_fit_is_named_once(
    tmp_path: Path, operator: Operator, changed: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "d.json"
    text = changed if isinstance(changed, str) else json.dumps(operator.delegation(**{"delegate": DELEGATE} | changed))
    path.write_text(text)
    file = DelegationFile(path, DELEGATE, NODE, URL, time.time)
    assert file.current() is None
    assert file.current() is None
    assert said in caplog.text
    assert len(caplog.records) == 1
