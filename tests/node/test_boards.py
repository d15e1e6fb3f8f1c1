"""What became of a node's advert on each board: shown, told once with what to do, and mended while the node serves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from registry.backend import open_backend
from tests.fakes.aleph import AlephNode, aleph_node
from tests.node.agent import Agent, chat
from tests.node.test_publishing import Operator, delegate, published, put, standings
from tests.programs import healthy

STATES = ["posted", "pending", "rejected", "unreachable"]


@pytest.fixture
async def networks(tmp_path: Path) -> AsyncIterator[list[AlephNode]]:
    """A host for each state."""
    async with contextlib.AsyncExitStack() as exits:
        yield [await exits.enter_async_context(aleph_node(tmp_path)) for _ in STATES]


async def _allow(operator: Operator, network: AlephNode, delegate: str) -> None:
    backend = open_backend(network.registry, author=operator.wallet)
    await backend.allow(delegate)
    await backend.close()


async def _become(session: aiohttp.ClientSession, node: Agent, states: list[str]) -> None:
    await healthy(
        session,
        f"{node.url}/health",
        node.program,
        lambda body: [each["state"] for each in body["registries"]] == states,
    )


async def _mended(operator: Operator, networks: list[AlephNode], delegate: str) -> None:
    _, pending, rejected, unreachable = networks
    await pending.control(settle="process")
    await _allow(operator, rejected, delegate)
    await unreachable.control(reset=True)


async def test_each_state_is_shown_and_told_once_and_mended_while_it_serves(
    tmp_path: Path, networks: list[AlephNode], fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    operator = Operator(tmp_path)
    posted, pending, rejected, unreachable = networks
    registries = [network.registry for network in networks]
    async with published(operator, fake_llama, small_gguf, registry=registries) as node:
        await node.program.saw("registry delegate")
        assert await standings(session, node.url) == ["waiting"] * 4
        for network in (posted, pending, unreachable):
            await _allow(operator, network, delegate(operator))
        await pending.control(pending_next=1)
        await unreachable.control(answer="away")
        put(operator, operator.delegation(delegate(operator), node.key))
        await _become(session, node, STATES)
        assert (await chat(session, node.url, "small", "Hello"))[0] == 200
        async with session.get(f"{node.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        for registry, state in zip(registries, STATES, strict=True):
            assert f'waypost_node_registry_state{{registry="{registry}",state="{state}"}} 1.0' in lines
        await rejected.reached(lambda counts: counts["requests"]["POST /api/v0/messages"] > 1)
        await _mended(operator, networks, delegate(operator))
        await _become(session, node, ["posted"] * 4)
        assert (await chat(session, node.url, "small", "Hello"))[0] == 200
    said = node.program.output().splitlines()
    for network, state, words in (
        (pending, "pending", "is not on the board yet"),
        (rejected, "rejected", f"run `waypost registry delegate {delegate(operator)} --registry '{rejected.registry}'"),
        (unreachable, "unreachable", "did not take a message"),
    ):
        told = [line.partition(" waypost.node ")[2] for line in said if f"({state}); serving goes on" in line]
        assert network.registry in told[0]
        assert words in told[0]
        assert len(told) == len(set(told)), "each reason once"
        assert sum(f"{network.registry}: posted" in line for line in said) == 1
