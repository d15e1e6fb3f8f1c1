"""Offers change in place: a configuration is edited while streams run, and none of them is cut."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from registry.advert import Advert
from tests.node.agent import Agent, agent, alive
from tests.node.reloading import (
    LIMIT_S,
    Models,
    edited,
    engine_of,
    engines_of,
    frozen,
    models_of,
    serves,
    status_of,
    streaming,
)
from tests.node.test_publishing import Operator, delegate, put
from tests.programs import until

pytestmark = pytest.mark.engine


async def test_no_stream_is_cut_whatever_becomes_of_its_model(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    before: Models = {"keep": {**small, "aliases": ["k"]}, "leave": small, "swap": small}
    after: Models = {"keep": {**small, "aliases": ["k2"]}, "swap": {**small, "context": 1024}, "fresh": small}
    async with (
        agent(tmp_path, before) as node,
        streaming(session, node, "k") as kept,
        streaming(session, node, "leave") as left,
        streaming(session, node, "swap") as swapped,
    ):
        keep, leave, swap = [await engine_of(node, name) for name in before]
        with frozen(leave, swap):
            said = await edited(node, tmp_path, after)
            assert "added fresh; removed leave; replaced swap; kept with other names, prices or times keep" in said
            await serves(session, node, {"keep": 512, "swap": 1024, "fresh": 512})
            asked = {name: await status_of(session, node, name) for name in ("fresh", "swap", "k2", "k", "leave")}
            assert asked == {"fresh": 200, "swap": 200, "k2": 200, "k": 404, "leave": 404}
            assert not left.done
            assert not swapped.done
            assert alive(leave)
            assert alive(swap)
        texts = [await stream.whole() for stream in (kept, left, swapped)]
        assert len({text[:40] for text in texts}) == 1, "the same model began alike, whatever it was called"
        await until(lambda: len(node.engines()) == 3, lambda: "the end of the old engines", limit_s=LIMIT_S)
        assert engines_of(node, "keep") == [keep]
        assert not {leave, swap} & set(node.engines())


async def test_a_new_advert_follows(tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession) -> None:
    operator = Operator(tmp_path)
    published: dict[str, Any] = {
        "registry": [operator.registry], "public_url": "http://127.0.0.1:1", "access": ["open"],
    }  # fmt: skip
    before: Models = {"keep": {**small, "aliases": ["k"]}, "swap": small, "leave": small}
    priced = {"aliases": ["k2"], "price": ["usd/call=1"]}
    after: Models = {"keep": {**small, **priced}, "swap": {**small, "context": 1024}, "fresh": small}
    async with agent(tmp_path, before, **published) as node:
        await node.program.saw("registry delegate")
        put(operator, operator.delegation(delegate(operator)))
        first = await _offering(operator, {"keep", "swap", "leave"})
        said = await edited(node, tmp_path, after, **published)
        assert "SIGHUP: added fresh; removed leave; replaced swap" in said
        second = await _offering(operator, {"keep", "swap", "fresh"})
        await serves(session, node, {"keep": 512, "swap": 1024, "fresh": 512})
    assert second.seq > first.seq
    offers = {offer.model: offer for offer in second.offers}
    assert offers["swap"].context_length == 1024
    assert offers["keep"].aliases == ("k2",)
    assert [(price.unit, price.amount) for price in offers["keep"].prices] == [("usd/call", "1")]


async def _offering(operator: Operator, models: set[str]) -> Advert:
    """The newest advert, once it is whole: what is new has been proven and what has changed been replaced."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            adverts = await operator.adverts()
            if adverts and {offer.model for offer in adverts[-1].offers} == models:
                contexts = {offer.model: offer.context_length for offer in adverts[-1].offers}
                if "fresh" not in models or contexts["swap"] == 1024:
                    return adverts[-1]
            await asyncio.sleep(0.05)


async def test_a_replacement_that_does_not_work_leaves_what_is_served(
    tmp_path: Path, node: Agent, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    engine = await engine_of(node, "keep")
    missing = tmp_path / "later.gguf"
    for broken, why in (({"uri": str(missing)}, "there is no such file"), ({"flags": ["--nonsense"]}, "--nonsense")):
        since = len(node.program.output())
        assert "replaced keep" in await edited(node, tmp_path, {"keep": {**small, **broken}})
        await node.program.saw(why, since, LIMIT_S)
        assert await status_of(session, node, "keep") == 200
        assert engines_of(node, "keep") == [engine]
    assert "replaced keep" in await edited(node, tmp_path, {"keep": {**small, "flags": ["--nonsense"]}})  # tried again
    await edited(node, tmp_path, {"keep": {**small, "uri": str(missing), "context": 1024}})
    shutil.copy(small["uri"], missing)
    assert "replaced keep" in await edited(node, tmp_path, {"keep": {**small, "uri": str(missing), "context": 1024}})
    await serves(session, node, {"keep": 1024})


async def test_a_node_without_a_model_that_works_waits_for_better_settings(
    tmp_path: Path, node: Agent, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    wrong = tmp_path / "wrong.gguf"
    async with streaming(session, node, "keep") as stream:
        since = len(node.program.output())
        assert "added new; removed keep" in await edited(node, tmp_path, {"new": {**small, "uri": str(wrong)}})
        await node.program.saw("new is not served: ", since, LIMIT_S)
        assert await status_of(session, node, "new") == 503
        assert await stream.whole()
    shutil.copy(small["uri"], wrong)
    assert "replaced new" in await edited(node, tmp_path, {"new": {**small, "uri": str(wrong)}})
    await serves(session, node, {"new": 512})
    assert await status_of(session, node, "new") == 200


async def test_other_weights_behind_the_same_path_replace_the_model(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    path = tmp_path / "weights.gguf"
    shutil.copy(small["uri"], path)
    models: Models = {"mine": {**small, "uri": str(path)}}
    async with agent(tmp_path, models) as node:
        engine = await engine_of(node, "mine")
        assert "no changes" in await edited(node, tmp_path, models)
        assert engines_of(node, "mine") == [engine]
        shutil.copy(small["uri"], tmp_path / "new.gguf")
        (tmp_path / "new.gguf").rename(path)
        assert "replaced mine" in await edited(node, tmp_path, models)
        await until(lambda: not alive(engine), lambda: "the end of the old engine", limit_s=LIMIT_S)
        assert await status_of(session, node, "mine") == 200
        assert list(await models_of(session, node)) == ["mine"]


async def test_a_name_passes_from_one_model_to_another(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {"keep": small, "old": small}) as node, streaming(session, node, "old") as stream:
        with frozen(await engine_of(node, "old")):
            said = await edited(node, tmp_path, {"keep": {**small, "aliases": ["old"]}})
            assert "removed old; kept with other names, prices or times keep" in said
            await serves(session, node, {"keep": 512})
            assert await status_of(session, node, "old") == 200
            assert not stream.done
            said = await edited(node, tmp_path, {"keep": small, "old": {**small, "context": 1024}})
            assert "added old; kept with other names, prices or times keep" in said
            await serves(session, node, {"keep": 512, "old": 1024})
            assert await status_of(session, node, "old") == 200
        assert await stream.whole()
