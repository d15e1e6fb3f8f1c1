"""Keys are free: fifty made-up operators that claim an honest one's model name get nobody routed to their weights."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from registry.advert import Curation
from registry.keys import Wallet
from registry.signing import sign_curation
from tests.gateway.adverts import digest, offer
from tests.gateway.asking import labels
from tests.gateway.scene import Operator, Rogue, becomes, chat, new_scene, rogue
from tests.stack import Stack, serve_gateway

FAKES = 50
HONEST = "abc" * 4


@dataclass
class Crowd:
    stack: Stack
    operator: Operator
    honest: Rogue
    fake: Rogue


@pytest.fixture
async def crowd(tmp_path: Path) -> AsyncIterator[Crowd]:
    """One honest operator and fifty others, whose one node answers to the same name with other weights."""
    stack, operator = new_scene(tmp_path)
    async with rogue(tmp_path, "fine") as honest, rogue(tmp_path, "fine") as fake:
        await operator.offer(honest, "m", offers=[offer("m", HONEST, aliases=["short"])])
        made_up = (Operator(operator.registry) for _ in range(FAKES))
        adverts = [
            each.sign(fake.key, fake.url, "m", offers=[offer("m", f"{number:08x}ff", aliases=["short"])])
            for number, each in enumerate(made_up)
        ]
        await operator.post(*adverts)
        yield Crowd(stack, operator, honest, fake)


async def test_nobody_is_routed_to_wrong_weights_and_every_choice_is_named(
    crowd: Crowd, session: aiohttp.ClientSession
) -> None:
    async with serve_gateway(crowd.stack, ("--open",), proven=2, trust="any"):
        for name in ("m", "short"):
            status, _, refusal = await chat(session, crowd.stack, name)
            assert (status, refusal["error"]["code"]) == (400, "model_ambiguous")
            assert len(labels(refusal["error"]["message"])) == FAKES + 1
            assert f"m@{HONEST}" in labels(refusal["error"]["message"])
        status, headers, _ = await chat(session, crowd.stack, f"m@{HONEST}")
        assert (status, headers["Waypost-Node"]) == (200, crowd.honest.key.public)
    assert crowd.fake.asked == 0


async def test_a_pin_resolves_it(crowd: Crowd, session: aiohttp.ClientSession) -> None:
    options = ("--open", "--pin", f"m={digest(HONEST)}")
    async with serve_gateway(crowd.stack, options, proven=2, trust="any"):
        await _always_the_honest_one(crowd, session)


async def test_a_curator_resolves_it(crowd: Crowd, session: aiohttp.ClientSession) -> None:
    curator, now = Wallet.new(), int(time.time())
    listed = Curation(
        curator=curator.address,
        seq=now * 1000,
        issued_at=now,
        expires_at=now + 3600,
        operators=(),
        nodes=(),
        models={"m": digest(HONEST)},
        slugs={},
    )
    options = ("--open", "--trust", f"curator:{curator.address}")
    async with serve_gateway(crowd.stack, options, proven=2, trust="any"):
        assert (await chat(session, crowd.stack, "m"))[0] == 400
        await crowd.operator.post(sign_curation(listed, curator))
        await becomes(session, crowd.stack, "m", 200)
        await _always_the_honest_one(crowd, session)


async def test_naming_the_operator_resolves_it(crowd: Crowd, session: aiohttp.ClientSession) -> None:
    options = ("--open", "--trust", crowd.operator.wallet.address)
    async with serve_gateway(crowd.stack, options, proven=2, trust="any"):
        await _always_the_honest_one(crowd, session)


async def _always_the_honest_one(crowd: Crowd, session: aiohttp.ClientSession) -> None:
    for name in ("m", "short", "m", "short"):
        status, headers, _ = await chat(session, crowd.stack, name)
        assert (status, headers["Waypost-Node"]) == (200, crowd.honest.key.public)
    assert crowd.fake.asked == 0
