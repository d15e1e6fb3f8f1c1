"""A node whose model computes on an NVIDIA GPU, asked with the official OpenAI client; `make gpu-test` runs this."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI

from node.engines.llama import Build
from node.gpus import Gpus
from tests.node.agent import Agent, agent
from tests.programs import until

pytestmark = [pytest.mark.gpu, pytest.mark.engine]
MODEL = "smollm2-135m-instruct"
ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "What is a tree?"}]}
ENDLESS = {"ignore_eos": True}
OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
MIB = 2**20
WEIGHTS_BYTES = 90 * MIB  # and a little less


@pytest.fixture(scope="module")
async def node(build: Build, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """A node that has chosen all by itself, but for the engine's chatter."""
    folder = tmp_path_factory.mktemp("gpu-node")
    async with agent(folder, {MODEL: {"uri": str(weights), "flags": ["--verbose"]}}) as made:
        await until(lambda: OFFLOADED.search(made.program.output()) is not None, made.program.output)
        yield made


@pytest.fixture
def client(node: Agent) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{node.url}/v1", api_key="any key does", max_retries=0)


async def test_it_answers_whole_and_streamed(client: AsyncOpenAI) -> None:
    asked = {**ASKED, "max_tokens": 48, "temperature": 0, "seed": 7}
    whole = await client.chat.completions.create(**asked)
    assert whole.choices[0].message.content
    stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    events = [event async for event in stream]
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == whole.choices[0].message.content
    assert events[-1].usage is not None


async def test_all_layers_are_on_the_gpu(node: Agent, gpus: Gpus, client: AsyncOpenAI) -> None:
    await client.chat.completions.create(**ASKED, max_tokens=1)
    found = OFFLOADED.search(node.program.output())
    assert found is not None
    assert found[1] == found[2], found[0]
    held = gpus.used_by(node.engines())
    if held is None:
        pytest.skip(
            "the driver does not tell what a process holds here; the engine's log says that all layers are there"
        )
    assert held > WEIGHTS_BYTES, f"NVML tells of {held // MIB} MiB only"


async def test_telemetry_shows_the_gpu(node: Agent, gpus: Gpus) -> None:
    first = gpus.read()[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{node.url}/health") as response:
            told = (await response.json())["gpus"][0]
        async with session.get(f"{node.url}/metrics") as response:
            metrics = await response.text()
    assert (told["name"], told["memory_total_bytes"]) == (first.name, first.total_bytes)
    assert told["memory_used_bytes"] > 0
    assert re.search(
        rf'^waypost_node_gpu_memory_used_bytes{{.*name="{re.escape(first.name)}".*}} ', metrics, re.MULTILINE
    )


async def test_its_speed(client: AsyncOpenAI, gpus: Gpus, tell: Callable[[str], None]) -> None:
    """Told, and held against no figure: it is the GPU's and the machine's."""
    await client.chat.completions.create(**ASKED, max_tokens=16, extra_body=ENDLESS)
    started = time.monotonic()
    stream = await client.chat.completions.create(**ASKED, max_tokens=512, stream=True, extra_body=ENDLESS)
    arrived = [time.monotonic() async for event in stream if event.choices and event.choices[0].delta.content]
    speed = (len(arrived) - 1) / (arrived[-1] - arrived[0])
    first_ms = (arrived[0] - started) * 1000
    tell(f"{gpus!r}: {MODEL}, one stream: first token after {first_ms:.0f} ms, then {speed:.0f} tokens/s")
    assert speed > 0
