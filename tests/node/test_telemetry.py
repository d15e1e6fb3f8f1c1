"""One node as its operator watches it: a real llama-server answers, beside a GPU that is a stand-in for the driver's.

What is said in `/health`, in `/metrics` and by `waypost node status` must be one and the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema_rs import Draft202012Validator

from node.openapi import PATHS
from tests import commands
from tests.node.agent import Agent, chat, options
from tests.node.test_gpus import GIB, H200, build
from tests.node.test_metrics import check_rules
from tests.programs import healthy, running

pytestmark = pytest.mark.engine
MODEL = "smollm2"
SCHEMA = PATHS["/health"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]


@dataclass
class Watched:
    """A node, and the file that its driver reads."""

    node: Agent
    driver: Path
    session: aiohttp.ClientSession

    async def health(self) -> Any:
        async with self.session.get(f"{self.node.url}/health") as response:
            said = await response.json()
        Draft202012Validator(SCHEMA).validate(said)
        return said

    async def metrics(self) -> dict[str, float]:
        async with self.session.get(f"{self.node.url}/metrics") as response:
            text = await response.text()
        check_rules(text)
        rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("waypost_node_"): float(value) for name, _, value in rows}


@pytest.fixture(scope="module")
async def watched(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    driver = build(folder) / "figures.txt"
    driver.write_text(H200)
    words = options(folder, {MODEL: {"uri": str(weights), "context": 512, "parallel": 2}})
    env = {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML": str(driver)}
    async with running(words, folder / "log.txt", env) as program, aiohttp.ClientSession() as session:
        said = (await program.saw(" serves ")).rpartition("waypost node ")[2].split()
        url = said[said.index("on") + 1].removesuffix("/v1")
        await healthy(session, f"{url}/health", program, lambda health: health["models"][MODEL]["warm"])
        yield Watched(Agent(program, said[0], url), driver, session)


async def test_tokens_of_an_answer_are_seen(watched: Watched) -> None:
    before = await watched.metrics()
    generated = 0
    for stream in (False, True):
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}], "max_tokens": 8}
        async with watched.session.post(
            f"{watched.node.url}/v1/chat/completions", json={**body, "stream": stream, "ignore_eos": True}
        ) as response:
            assert response.status == 200 and await response.read()
            generated += 8
    after = await watched.metrics()
    label = f'{{model="{MODEL}"}}'
    assert after[f"generated_tokens_total{label}"] - before[f"generated_tokens_total{label}"] == generated
    assert after[f"prompt_tokens_total{label}"] > before[f"prompt_tokens_total{label}"]
    assert after[f"cached_prompt_tokens_total{label}"] > 0  # the second prompt was the first one's
    assert after[f"tokens_per_second{label}"] > 0
    where = f'{{endpoint="/v1/chat/completions",model="{MODEL}"}}'
    assert after[f"first_byte_seconds_count{where}"] - before.get(f"first_byte_seconds_count{where}", 0) == 1
    model = (await watched.health())["models"][MODEL]
    assert model["tokens_per_s"] > 0
    assert 0 < model["cache_hit_ratio"] < 1


async def test_health_metrics_and_status_say_the_same_of_memory_and_gpus(watched: Watched) -> None:
    async def measured() -> bool:
        return (await watched.health())["models"][MODEL]["memory"]["taken"] is not None

    await becomes(measured)
    health, metrics = await watched.health(), await watched.metrics()
    (gpu,) = health["gpus"]
    assert (gpu["name"], gpu["memory_used_bytes"], gpu["power_watts"]) == ("NVIDIA H200", 41 * GIB, 412.5)
    where = '{gpu="0",name="NVIDIA H200"}'
    assert metrics[f"gpu_utilization_ratio{where}"] == gpu["utilization_ratio"] == 0.37
    assert metrics[f"gpu_temperature_celsius{where}"] == gpu["temperature_celsius"] == 61
    assert metrics[f"gpu_memory_total_bytes{where}"] == gpu["memory_total_bytes"] == 141 * GIB
    taken = health["models"][MODEL]["memory"]["taken"]["ram_bytes"]
    assert taken > 0
    assert metrics['memory_budget_bytes{memory="vram"}'] == health["memory"]["budget"]["vram_bytes"] > 90 * GIB
    ended = await asyncio.to_thread(commands.run, watched.driver.parent, "node", "status", "--url", watched.node.url)
    assert (ended.status, ended.err) == (0, "")
    assert "0 NVIDIA H200  37%  41.0 GiB of 141 GiB         61 C  412 W" in ended.out


async def becomes(good: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await good():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_a_gpu_that_is_lost_is_left_out_and_nothing_else_suffers(watched: Watched) -> None:
    async def lost() -> bool:
        return not (await watched.health())["gpus"]

    watched.driver.write_text("gpu GPU-aaaa -15 -15 -15 -15 -15 NVIDIA H200")
    try:
        await becomes(lost)
        assert not [name for name in await watched.metrics() if name.startswith("gpu_")]
        assert (await chat(watched.session, watched.node.url, MODEL, "Hi."))[0] == 200
    finally:
        watched.driver.write_text(H200)


async def test_a_long_stream_shows_while_it_runs(watched: Watched) -> None:
    label = f'{{model="{MODEL}"}}'
    before = (await watched.metrics())[f"tokens_per_second{label}"]
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}], "stream": True, "ignore_eos": True}
    async with watched.session.post(f"{watched.node.url}/v1/chat/completions", json=body) as response:
        async with asyncio.timeout(60):
            while (await watched.metrics())[f"tokens_per_second{label}"] <= before:
                assert await response.content.readany()
        total = (await watched.metrics())[f"generated_tokens_total{label}"]

    async def counted() -> bool:
        return (await watched.metrics())[f"generated_tokens_total{label}"] > total

    await becomes(counted)  # it was left: what was seen of it counts
    assert "Traceback" not in watched.node.program.output()
