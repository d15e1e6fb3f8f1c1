"""Fake Aleph nodes among themselves, and what outlives one of them."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.aleph import AlephNode, aleph_node
from tests.fakes.signed import numbered


async def shown(node: AlephNode) -> list[int]:
    url = f"{node.url}/api/v0/messages.json?pagination=0&sortOrder=1"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return [message["content"]["content"] for message in (await response.json())["messages"]]


async def test_peers_share_what_they_take_and_had(tmp_path: Path) -> None:
    async with aleph_node(tmp_path) as one:
        await one.control(publish=await numbered(1))
        async with aleph_node(tmp_path, "--peer", one.url) as two:
            await two.reached(lambda counts: counts["messages"] == 1)
            await one.control(publish=await numbered(2))
            await two.control(publish=await numbered(3))
            for node in (one, two):
                await node.reached(lambda counts: counts["messages"] == 3)
            await two.control(answer="away")
            with pytest.raises(aiohttp.ClientError):
                await shown(two)
            await one.control(publish=await numbered(4))
            await two.reached(lambda counts: counts["messages"] == 4)
            await two.control(reset=True)
            assert await shown(one) == await shown(two) == [1, 2, 3, 4]


async def test_a_node_that_was_gone_catches_up(tmp_path: Path) -> None:
    async with aleph_node(tmp_path) as one:
        async with aleph_node(tmp_path, "--peer", one.url, name="two") as two:
            await two.control(publish=await numbered(1))
            await one.reached(lambda counts: counts["messages"] == 1)
        await one.control(publish=await numbered(2))
        async with aleph_node(tmp_path, "--peer", one.url, name="two") as two:
            await two.reached(lambda counts: counts["messages"] == 2)
            assert await shown(two) == [1, 2]


@pytest.mark.parametrize("trust", [[], ["--trust-load"]])
async def test_it_loads_many_messages_and_keeps_them(tmp_path: Path, trust: list[str]) -> None:
    file = tmp_path / "messages.jsonl"
    file.write_text("\n".join([json.dumps(await numbered(number)) for number in range(300)]))
    async with aleph_node(tmp_path, "--load", str(file), *trust, name="kept") as node:
        assert (await node.counts())["messages"] == 300
    async with aleph_node(tmp_path, name="kept") as node:
        assert await shown(node) == list(range(300))


async def test_it_ends_cleanly_while_somebody_waits(tmp_path: Path) -> None:
    async with aleph_node(tmp_path) as node, aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{node.url}/api/ws0/messages"):
            await node.reached(lambda counts: counts["sockets_open"] == 1)
            assert await node.program.stop() == 0
        assert "Traceback" not in node.program.output()
