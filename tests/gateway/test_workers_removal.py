"""What ends in the registry ends at every worker, as soon as at a gateway of one process; a new worker knows of it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from registry.advert import Curation, Envelope
from registry.keys import Wallet
from registry.signing import sign_curation
from tests.gateway.crew import connections, crew, kill, processes
from tests.gateway.held_node import Held, held_node
from tests.gateway.scene import CHAT, becomes, chat, new_scene
from tests.programs import until
from tests.stack import Stack

PROMISED_S = 5.0 * 6  # on a machine that runs other tests beside this one


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    async with held_node() as made:
        yield made


async def _all_become(clients: Mapping[int, aiohttp.ClientSession], stack: Stack, model: str, status: int) -> float:
    """Wait until every worker answers so; returns how long the slowest took (seconds)."""
    return max(await asyncio.gather(*(becomes(client, stack, model, status) for client in clients.values())))


async def test_a_retired_node(tmp_path: Path, node: Held) -> None:
    stack, operator = new_scene(tmp_path)
    await operator.post(operator.sign(node.key, node.url, "m"))
    body = {**CHAT, "model": "m", "stream": True}
    async with crew(stack) as program, connections(stack, program) as clients, aiohttp.ClientSession() as session:
        await _all_become(clients, stack, "m", 200)
        async with session.post(f"{stack.base_url}/chat/completions", json=body) as stream:
            assert b"first" in await stream.content.readuntil(b"\n\n")
            await operator.post(operator.sign(node.key, node.url))
            assert await _all_become(clients, stack, "m", 503) < PROMISED_S
            assert [(await chat(client, stack, "n"))[0] for client in clients.values()] == [404, 404]
            node.go_on.set()
            assert (await stream.read()).endswith(b"data: [DONE]\n\n")
        kill(processes(program)[1], signal.SIGKILL)
        await until(lambda: program.output().count("worker 1: serving") == 2)
        async with connections(stack, program) as anew:
            assert [(await chat(anew[number], stack, "m"))[0] for number in (1, 2)] == [503, 503]
            await operator.post(operator.sign(node.key, node.url, "m"))
            assert await _all_become(anew, stack, "m", 200) < PROMISED_S


def _listed(curator: Wallet, operators: tuple[str, ...], node: str, seq: int) -> Envelope:
    now = int(time.time())
    curation = Curation(
        curator=curator.address,
        seq=now * 1000 + seq,
        issued_at=now,
        expires_at=now + 3600,
        operators=operators,
        nodes=(),
        models={},
        slugs={"fast": node},
    )
    return sign_curation(curation, curator)


async def test_an_operator_that_a_curator_drops_and_a_slug(tmp_path: Path, node: Held) -> None:
    stack, operator = new_scene(tmp_path)
    curator, key = Wallet.new(), node.key.public
    await operator.post(operator.sign(node.key, node.url, "m"), _listed(curator, (operator.wallet.address,), key, 1))
    async with crew(stack, trust=f"curator:{curator.address}") as program, connections(stack, program) as clients:
        await _all_become(clients, stack, "m", 200)
        for client in clients.values():
            async with client.get(f"{stack.gateway_url}/vm/fast/v1/models") as response:
                assert [item["id"] for item in (await response.json())["data"]] == ["m"]
        await operator.post(_listed(curator, (), key, 2))
        assert await _all_become(clients, stack, "m", 503) < PROMISED_S
        for client in clients.values():
            async with client.get(f"{stack.gateway_url}/vm/fast/v1/models") as response:
                assert response.status == 503
