"""A configuration that is edited where memory is scarce, or that says otherwise when models are in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.node.agent import agent
from tests.node.reloading import LIMIT_S, edited, engine_of, engines_of, serves, status_of, streaming
from tests.programs import until

pytestmark = pytest.mark.engine


async def test_where_memory_holds_only_one_the_old_engine_ends_its_streams_and_leaves_for_the_new(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    one, memory = {**small, "memory_mib": 600}, {"ram_mib": 1000}
    async with agent(tmp_path, {"swap": one}, **memory) as node:
        old = await engine_of(node, "swap")
        async with streaming(session, node, "swap") as stream:
            assert "replaced swap" in await edited(node, tmp_path, {"swap": {**one, "context": 1024}}, **memory)
            seen = {await status_of(session, node, "swap")}
            assert await stream.whole()
        await serves(session, node, {"swap": 1024})
        seen.add(await status_of(session, node, "swap"))
        assert seen <= {200, 503}
        assert await engine_of(node, "swap") != old
        assert await status_of(session, node, "swap") == 200


async def test_all_can_change_at_once_where_what_comes_of_it_fits(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    one, memory = {**small, "memory_mib": 300}, {"ram_mib": 1000}
    async with (
        agent(tmp_path, {"a": one, "b": one}, **memory) as node,
        streaming(session, node, "a") as first,
        streaming(session, node, "b") as second,
    ):
        larger = {**one, "context": 1024}
        await edited(node, tmp_path, {"a": larger, "c": one, "b": larger}, **memory)
        await serves(session, node, {"a": 1024, "b": 1024, "c": 512})
        assert await first.whole()
        assert await second.whole()
        assert {await status_of(session, node, name) for name in "abc"} == {200}
        assert "is not served" not in node.program.output()


async def test_more_memory_and_the_model_that_needs_it_come_together_or_one_after_the_other(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    one = {**small, "memory_mib": 300}
    async with agent(tmp_path, {"keep": one}, ram_mib=400) as node:
        since = len(node.program.output())
        await edited(node, tmp_path, {"keep": one, "fresh": one}, ram_mib=400)
        await node.program.saw("fresh is not served: it needs 300 MiB", since, LIMIT_S)
        assert "set ram_mib" in await edited(node, tmp_path, {"keep": one, "fresh": one}, ram_mib=700)
        await serves(session, node, {"keep": 512, "fresh": 512})
        three = {"keep": one, "fresh": one, "third": one}
        assert "added third; set ram_mib" in await edited(node, tmp_path, three, ram_mib=1000)
        await serves(session, node, {"keep": 512, "fresh": 512, "third": 512})
        assert "is not served" not in node.program.output()[since:].partition("SIGHUP: replaced fresh")[2]


async def test_when_a_model_is_in_memory_can_be_changed_without_another_engine(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {"keep": small, "now_and_then": small}) as node:
        kept = await engine_of(node, "keep")
        rarely = {**small, "load": "demand", "idle_s": 0.2}
        said = await edited(node, tmp_path, {"keep": small, "now_and_then": rarely})
        assert "SIGHUP: kept with other names, prices or times now_and_then" in said
        await until(lambda: not engines_of(node, "now_and_then"), lambda: "its being unloaded", limit_s=LIMIT_S)
        assert await status_of(session, node, "now_and_then") == 200
        await until(lambda: not engines_of(node, "now_and_then"), lambda: "its being unloaded again", limit_s=LIMIT_S)
        await edited(node, tmp_path, {"keep": small, "now_and_then": small})
        await until(lambda: len(engines_of(node, "now_and_then")) == 1, lambda: "its being loaded", limit_s=LIMIT_S)
        assert engines_of(node, "keep") == [kept]


async def test_not_more_models_are_kept_loaded_than_fit(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    large = {**small, "memory_mib": 600}
    by_turns = {"one": {**large, "load": "demand"}, "two": {**large, "load": "demand"}}
    async with agent(tmp_path, by_turns, ram_mib=800) as node:
        assert {await status_of(session, node, name) for name in by_turns} == {200}
        since = len(node.program.output())
        await edited(node, tmp_path, {"one": large, "two": large}, ram_mib=800)
        await node.program.saw("two is still loaded on demand: it needs 600 MiB RAM to be kept", since, LIMIT_S)
        assert await status_of(session, node, "one") == 200
        await edited(node, tmp_path, by_turns, ram_mib=800)
        assert {await status_of(session, node, name) for name in by_turns} == {200}
