"""Two hosts of the Aleph network: one of them is enough, and one that withholds or lies is seen and does no harm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.aleph import AlephNode, aleph_node
from tests.gateway.scene import Operator, becomes, chat, rogue
from tests.programs import Program, healthy
from tests.stack import MODEL, Stack, new_stack, serve_gateway
from tests.system.published import published_node

Hosts = tuple[AlephNode, AlephNode]


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Hosts]:
    """Two hosts that tell each other everything."""
    async with aleph_node(tmp_path) as one, aleph_node(tmp_path, "--peer", one.url) as other:
        yield one, other


async def _posts(host: AlephNode, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    async with session.get(f"{host.url}/api/v0/messages.json", params={"msgTypes": "POST"}) as response:
        messages: list[dict[str, Any]] = (await response.json())["messages"]
    return messages


async def _shown(session: aiohttp.ClientSession, made: Stack, gateway: Program, host: AlephNode, **state: Any) -> None:
    """Wait until the gateway says so of that host."""

    def good(health: Any) -> bool:
        shown: dict[str, Any] = next(each for each in health["registries"] if each["url"] == host.registry)
        return state.items() <= shown.items()

    await healthy(session, f"{made.gateway_url}/health", gateway, good)


async def _metric(session: aiohttp.ClientSession, made: Stack, name: str, host: AlephNode) -> float:
    start = f'waypost_gateway_registry_{name}{{registry="{host.registry}"}} '
    async with session.get(f"{made.gateway_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return float(next(line for line in lines if line.startswith(start)).removeprefix(start))


@pytest.mark.engine
async def test_a_node_posts_one_and_the_same_message_to_both(
    hosts: Hosts, weights: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    one, other = hosts
    made = await new_stack(tmp_path)
    made.registry = one.registry
    async with (
        published_node(made, weights, one.registry, other.registry) as node,
        serve_gateway(made, ("--open", "--registry", other.registry), proven=1),
    ):
        await node.program.saw(f"{one.registry}: posted")
        await node.program.saw(f"{other.registry}: posted")
        [at_one], [at_other] = await _posts(one, session), await _posts(other, session)
        assert at_one["item_hash"] == at_other["item_hash"]
        assert (await chat(session, made, MODEL, max_tokens=4))[0] == 200


async def test_either_host_may_be_away(hosts: Hosts, tmp_path: Path, session: aiohttp.ClientSession) -> None:
    one, other = hosts
    operator = Operator(one.registry)
    made = Stack(tmp_path, one.registry, operator.wallet.address)
    async with (
        rogue(tmp_path, "fine") as node,
        serve_gateway(made, ("--open", "--registry", other.registry), proven=0) as gateway,
    ):
        for model, away, there in (("first", one, other), ("second", other, one)):
            await away.control(answer="away")
            await _shown(session, made, gateway, away, up=False)
            operator.registry = there.registry
            await operator.offer(node, model)
            await becomes(session, made, model, 200)
            await away.control(reset=True)
            await _shown(session, made, gateway, away, up=True)
        assert (await chat(session, made, "first"))[0] == 503, "the newer advert is the one that counts"


async def test_withholding_and_lying_are_seen_and_believed_by_nobody(
    hosts: Hosts, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    one, other = hosts
    made = Stack(tmp_path, one.registry, "")
    async with rogue(tmp_path, "fine") as node:
        for model in ("hidden", "forged"):
            await Operator(one.registry).offer(node, model)
        await other.reached(lambda counts: counts["messages"] == 2)
        forged, hidden = (message["item_hash"] for message in await _posts(one, session))
        await one.control(withhold_hashes=[forged])
        await other.control(withhold_hashes=[hidden], only=[forged], alter_item_content=True)
        options = ("--open", "--registry", other.registry)
        async with serve_gateway(made, options, proven=1, trust="any") as gateway:
            await _shown(session, made, gateway, other, missing=1)
            await _shown(session, made, gateway, one, up=True, missing=0, faults=0)
            assert [await _metric(session, made, name, other) for name in ("missing", "up")] == [1, 1]
            assert await _metric(session, made, "faults_total", other) > 0
            await gateway.saw(f"registry {other.registry} withholds, or lags behind")
            assert [(await chat(session, made, model))[0] for model in ("hidden", "forged")] == [200, 404]
            await other.control(reset=True, drop_sockets=True)
            await becomes(session, made, "forged", 200)
            await _shown(session, made, gateway, other, missing=0)
