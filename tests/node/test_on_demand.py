"""More models than memory holds: loaded when asked for, and nobody cut off or left without an answer."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from tests.node.agent import Agent, agent, alive, chat, options
from tests.node.reloading import edited
from tests.node.tiny_model import write_model
from tests.programs import running, until
from tests.soak.budget_scene import THREE, budgeted, switches, told
from tests.soak.crowd import crowd

LONG = {"messages": [{"role": "user", "content": "Tell a long story."}], "stream": True, "max_tokens": 400}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120)) as session:
        yield session


async def test_three_models_where_two_fit(tmp_path: Path) -> None:
    """As `make soak` does for minutes."""
    async with budgeted(tmp_path, hold_s=0.5) as (node, budget_bytes):
        outcome = await crowd(node, THREE, 6, lambda seen: seen.asked < 60)
        loads = await switches(node)
    assert not outcome.faults, outcome.faults
    assert outcome.answered.total() == outcome.asked
    assert sum(loads.values()) > len(THREE), loads
    assert outcome.most_bytes <= budget_bytes, outcome


async def test_a_model_is_tried_at_the_start_then_loaded_for_who_asks_and_unloaded_when_idle(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    model = {"uri": str(write_model(tmp_path / "tiny.gguf")), "load": "demand", "idle_s": 0.1, "context": 512}
    async with agent(tmp_path, {"tiny": model}) as node:
        await until(lambda: not node.engines())
        async with http.get(f"{node.url}/health") as response:
            assert (response.status, (await response.json())["status"]) == (202, "cold")
        async with http.get(f"{node.url}/v1/models") as response:
            assert [item["id"] for item in (await response.json())["data"]] == ["tiny"]
        status, _ = await chat(http, node.url, "tiny", "Hi.")
        assert status == 200
        await until(lambda: not node.engines())
        loads = await switches(node)
        assert loads["tiny"] == 2


def slow(folder: Path, fake_llama: Path, late_s: str) -> dict[str, object]:
    """The stand-in, which takes its time to load."""
    return {
        "uri": str(write_model(folder / "slow.gguf")),
        "load": "demand",
        "idle_s": 0.05,
        "flags": ["--late", late_s],
    }


async def test_a_stream_waits_for_its_model_with_comments(
    tmp_path: Path, fake_llama: Path, http: aiohttp.ClientSession
) -> None:
    models = {"slow": slow(tmp_path, fake_llama, "1")}
    async with agent(tmp_path, models, llama_server=str(fake_llama), keepalive_s=0.1) as node:
        await until(lambda: not node.engines())
        body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "drip"}]}
        async with http.post(f"{node.url}/v1/chat/completions", json=body) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            seen = b""
            while b"data: " not in seen:
                seen += await response.content.readany()
    comments = re.findall(rb": slow is being loaded; it may answer in \d+ s\n\n", seen)
    assert len(comments) >= 3 and seen.startswith(b": ")


async def test_an_sdk_does_not_see_the_comments(tmp_path: Path) -> None:
    async with (
        budgeted(tmp_path, keepalive_s=0.01) as (node, _),
        openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key="none", max_retries=0) as client,
    ):
        for model in THREE:
            stream = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hi."}], max_tokens=8, stream=True
            )
            reasons = [choice.finish_reason async for chunk in stream for choice in chunk.choices]
            assert reasons[-1] in ("stop", "length")


async def test_who_cannot_wait_is_told_when_to_come_back(
    tmp_path: Path, fake_llama: Path, http: aiohttp.ClientSession
) -> None:
    models = {"slow": slow(tmp_path, fake_llama, "3")}
    async with agent(tmp_path, models, llama_server=str(fake_llama), ready_s=0.1) as node:
        await until(lambda: not node.engines())
        body = {"model": "slow", "messages": [{"role": "user", "content": "Hi."}]}
        async with http.post(f"{node.url}/v1/chat/completions", json=body) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (503, "model_cold")
            assert 1 <= int(response.headers["Retry-After"]) <= 30  # it knows how long the load took before
        assert node.engines()  # and it is loaded for who comes back


SAID = [{"role": "user", "content": "Hi."}]
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": SAID},
    "completions": {"prompt": "Hi."},
    "responses": {"input": "Hi."},
    "messages": {"messages": SAID, "max_tokens": 8},
}


async def test_a_stream_whose_model_does_not_come_ends_with_an_error_and_without_its_end(
    tmp_path: Path, fake_llama: Path, http: aiohttp.ClientSession
) -> None:
    models = {"slow": slow(tmp_path, fake_llama, "5")}
    waits = {"cold_s": 0.5, "ready_s": 0.1, "keepalive_s": 0.1}
    async with agent(tmp_path, models, llama_server=str(fake_llama), **waits) as node:
        await until(lambda: not node.engines())
        for path, body in BODIES.items():
            seen = await broken_stream(http, f"{node.url}/v1/{path}", {"model": "slow", "stream": True, **body})
            event = orjson.loads(seen.split(b"data: ")[1])
            assert "is not loaded, and may be in" in event["error"]["message"], path
            assert (b"event: error" in seen) is (path in ("responses", "messages"))
            assert seen.startswith(b": slow is being loaded") and b"[DONE]" not in seen


async def broken_stream(http: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bytes:
    """What comes of a stream that breaks off."""
    seen = b""
    async with http.post(url, json=body) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            while piece := await response.content.readany():
                seen += piece
    return seen


async def test_an_answer_that_is_no_stream_does_not_go_on_behind_comments(
    tmp_path: Path, fake_llama: Path, http: aiohttp.ClientSession
) -> None:
    models = {"slow": slow(tmp_path, fake_llama, "1")}
    async with agent(tmp_path, models, llama_server=str(fake_llama), keepalive_s=0.1) as node:
        await until(lambda: not node.engines())
        body = {"model": "slow", "stream": True, "messages": SAID}  # the stand-in knows no streams but of one word
        seen = await broken_stream(http, f"{node.url}/v1/chat/completions", body)
    (event,) = seen.split(b"data: ")[1:]
    assert orjson.loads(event)["error"]["code"] == "upstream_broken"


async def test_who_leaves_while_its_model_is_loaded_holds_nothing(
    tmp_path: Path, fake_llama: Path, http: aiohttp.ClientSession
) -> None:
    models = {"slow": slow(tmp_path, fake_llama, "2")}
    async with agent(tmp_path, models, llama_server=str(fake_llama), keepalive_s=0.05) as node:
        await until(lambda: not node.engines())
        body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "hold"}]}
        async with http.post(f"{node.url}/v1/chat/completions", json=body) as response:
            await response.content.readany()  # a comment
            response.close()
        for _ in range(500):
            if (await told(node))["models"]["slow"]["in_flight"] == 0:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("its slot is still held")


async def test_a_model_that_answers_is_not_unloaded_for_another(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with budgeted(tmp_path, hold_s=0.0, ready_s=60.0) as (node, _):
        streams = [http.post(f"{node.url}/v1/chat/completions", json={"model": name, **LONG}) for name in THREE[:2]]
        first, second = [await stream for stream in streams]
        before = set(node.engines())
        third = asyncio.create_task(chat(http, node.url, THREE[2], "Hi."))
        texts = [await stream.read() for stream in (first, second)]
        assert all(text.endswith(b"data: [DONE]\n\n") for text in texts)
        assert (await third)[0] == 200
        assert len(before & set(node.engines())) <= 1


async def test_another_file_in_the_place_of_the_weights_is_not_served_under_their_digest(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    weights = write_model(tmp_path / "tiny.gguf")
    model = {"uri": str(weights), "load": "demand", "idle_s": 0.05, "context": 512}
    async with agent(tmp_path, {"tiny": model}, ready_s=1.0) as node:
        await until(lambda: not node.engines())
        write_model(tmp_path / "other.gguf", width=128).replace(weights)
        status, _ = await chat(http, node.url, "tiny", "Hi.")
        assert status == 503
        await node.program.saw("tiny.gguf is gone, or another file than was opened; SIGHUP opens it anew")
        since = len(node.program.output())
        node.program.process.send_signal(signal.SIGHUP)
        await node.program.saw("SIGHUP: replaced tiny", since)
        await node.program.saw("tokens/s", since)  # it has shown that it works
        status, _ = await chat(http, node.url, "tiny", "Hi.")
        assert status == 200


async def test_no_engine_is_left_when_the_node_stops_while_it_loads_one(tmp_path: Path, fake_llama: Path) -> None:
    words = options(tmp_path, {"slow": slow(tmp_path, fake_llama, "60")}, llama_server=str(fake_llama))
    async with running(words, tmp_path / "log.txt") as program:
        await program.saw("loading")
        node = Agent(program, "", "")
        await until(lambda: len(node.engines()) == 1)
        engines = node.engines()
    assert not any(map(alive, engines))
    assert "is not served" not in program.output()  # it was stopped: nothing has failed


async def test_a_model_that_no_longer_fits_beside_those_that_are_kept_is_refused_at_once_until_it_does(
    tmp_path: Path, fake_llama: Path, http: aiohttp.ClientSession
) -> None:
    wish = {"uri": str(write_model(tmp_path / "tiny.gguf")), "memory_mib": 600}
    rare, memory = {**wish, "load": "demand"}, {"ram_mib": 1000, "llama_server": str(fake_llama), "ready_s": 600.0}
    async with agent(tmp_path, {"rare": rare}, **memory) as node:
        since = len(node.program.output())
        await edited(node, tmp_path, {"rare": rare, "main": wish}, **memory)
        await node.program.saw("rare cannot be loaded now: it needs 600 MiB RAM, and 400 MiB RAM are there", since)
        status, body = await chat(http, node.url, "rare", "Hi.")
        assert (status, body["error"]["code"]) == (503, "model_not_loaded")
        assert (await chat(http, node.url, "main", "Hi."))[0] == 200
        await edited(node, tmp_path, {"rare": rare}, **memory)
        assert (await chat(http, node.url, "rare", "Hi."))[0] == 200
