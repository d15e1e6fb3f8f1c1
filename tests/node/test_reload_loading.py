"""A configuration that is edited while models load or are fetched: what is not wanted any more ends at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.node.agent import Agent, agent, alive, options
from tests.node.reloading import (
    LIMIT_S,
    edited,
    engine_of,
    engines_of,
    gated,
    hang_up,
    serves,
    status_of,
)
from tests.programs import running, until

pytestmark = pytest.mark.engine


async def test_many_edits_while_a_model_still_loads_settle_on_the_last(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    program, gate = gated(tmp_path)
    server = {"llama_server": str(program)}
    async with agent(tmp_path, {"keep": small}, **server) as node:
        await edited(node, tmp_path, {"keep": small, "slow": small}, **server)
        await engine_of(node, "slow")
        for number in range(1, 11):
            options(tmp_path, {"keep": small, "slow": {**small, "context": 512 + 256 * number}}, **server)
            hang_up(node)
        gate.touch()
        await serves(session, node, {"keep": 512, "slow": 512 + 2560})
        await engine_of(node, "slow")
        assert await status_of(session, node, "slow") == 200
        assert len(node.engines()) == 2


async def test_a_model_that_is_loading_can_be_given_other_names(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    program, gate = gated(tmp_path)
    server = {"llama_server": str(program)}
    async with agent(tmp_path, {"keep": small}, **server) as node:
        await edited(node, tmp_path, {"keep": small, "slow": {**small, "aliases": ["s"]}}, **server)
        slow = await engine_of(node, "slow")
        said = await edited(node, tmp_path, {"keep": small, "slow": {**small, "aliases": ["s2"]}}, **server)
        assert "SIGHUP: kept with other names, prices or times slow" in said
        gate.touch()
        await serves(session, node, {"keep": 512, "slow": 512})
        assert {alias: await status_of(session, node, alias) for alias in ("s2", "s")} == {"s2": 200, "s": 404}
        assert engines_of(node, "slow") == [slow]


async def test_a_model_that_is_loading_can_be_taken_away(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    program, _ = gated(tmp_path)
    server = {"llama_server": str(program)}
    async with agent(tmp_path, {"keep": small}, **server) as node:
        keep = await engine_of(node, "keep")
        await edited(node, tmp_path, {"keep": small, "slow": small}, **server)
        slow = await engine_of(node, "slow")
        assert "removed slow" in await edited(node, tmp_path, {"keep": small}, **server)
        await until(lambda: not alive(slow), lambda: "the end of what loaded", limit_s=LIMIT_S)
        assert await status_of(session, node, "slow") == 404
        assert node.engines() == [keep]
        assert "slow is not served" not in node.program.output()


async def test_a_node_that_still_starts_can_be_told_otherwise(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    program, _ = gated(tmp_path)
    server = {"llama_server": str(program)}
    words = options(tmp_path, {"slow": small}, **server)
    async with running(words, tmp_path / "log.txt") as started:
        node = Agent(started, "", "")
        slow = await engine_of(node, "slow")
        assert "added keep; removed slow" in await edited(node, tmp_path, {"keep": small}, **server)
        assert "serves keep on" in await started.saw("serves keep", limit_s=LIMIT_S)
        await until(lambda: not alive(slow), lambda: "the end of what loaded", limit_s=LIMIT_S)


async def test_a_download_of_a_model_that_is_taken_away_ends(
    tmp_path: Path, node: Agent, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nAccept-Ranges: bytes\r\n\r\n" + bytes(1000))
        asked.set()
        await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        uri = f"http://127.0.0.1:{port}/far.gguf"
        await edited(node, tmp_path, {"keep": small, "far": {"uri": uri}})
        await asyncio.wait_for(asked.wait(), LIMIT_S)
        assert await status_of(session, node, "far") == 503
        assert "removed far" in await edited(node, tmp_path, {"keep": small})
        await asyncio.wait_for(left.wait(), LIMIT_S)
        assert await status_of(session, node, "far") == 404
    assert "far is not served" not in node.program.output()
