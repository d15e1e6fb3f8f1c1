"""What `GET /health` says: when a node can be used, and how each model is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from jsonschema_rs import Draft202012Validator

from node.models import Entry, Phase
from node.openapi import PATHS
from node.store.progress import Progress
from node.telemetry.health import PHASES, Body, Status
from relay.answer import Made
from tests.node.observed_node import GPU, NEED, Observed, observed
from tests.programs import until

SCHEMA = PATHS["/health"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]


@pytest.fixture
async def node(tmp_path: Path, fake_llama: Path) -> AsyncIterator[Observed]:
    async with observed(tmp_path, fake_llama) as made:
        yield made


async def health(node: Observed) -> tuple[Body, int]:
    """The answer, as it is described and as it passes."""
    body, code = await node.health.answer()
    read: Body = orjson.loads(orjson.dumps(body))
    Draft202012Validator(SCHEMA).validate(read)
    return read, code


async def status(node: Observed) -> tuple[str, int]:
    body, code = await health(node)
    return body["status"], code


async def test_a_node_without_models_yet_is_starting(node: Observed) -> None:
    node.settled = False
    assert await status(node) == ("starting", 503)


async def test_a_node_starts_until_all_was_tried_and_never_again_while_one_answers(node: Observed) -> None:
    node.settled = False
    one = node.add("one", kept=True)
    await node.load(one)
    assert await status(node) == ("starting", 503)
    node.settled = True
    assert await status(node) == ("ready", 200)
    node.settled = False  # a further model is on its way
    node.models.put(Entry("two", phase=Phase.OPENING))
    assert await status(node) == ("ready", 200)
    one.engine.life.kill()
    await until(lambda: not one.warm)
    assert await status(node) == ("starting", 503)
    await node.load(one)
    assert await status(node) == ("ready", 200)


async def test_a_node_that_could_load_what_is_asked_for_is_cold(node: Observed) -> None:
    one = node.add("one")
    node.add("two")
    assert await status(node) == ("cold", 202)
    await node.load(one)
    assert await status(node) == ("ready", 200)
    kept = node.add("kept", "--die", "no", kept=True)
    assert await status(node) == ("ready", 200)  # one is warm
    await until(lambda: kept.engine.life.failures > 0)
    node.models.drop("one")
    assert await status(node) == ("starting", 503)  # it should be there, and is not


async def test_a_draining_node_is_unavailable(node: Observed) -> None:
    await node.load(node.add("one"))
    await node.pool.drain(1)
    assert await status(node) == ("draining", 503)


async def test_a_model_is_told_from_its_download_to_its_last_unload(node: Observed) -> None:
    entry = Entry("far", phase=Phase.DOWNLOADING, progress=Progress("far", done=3, total=None, per_s=1.6))
    node.models.put(entry)
    assert (await health(node))[0]["models"]["far"] == {
        "state": "downloading", "phase": "downloading", "warm": False,
        "progress": {"done_bytes": 3, "total_bytes": None, "bytes_per_s": 2},
    }  # fmt: skip
    entry.phase = Phase.OPENING
    assert (await health(node))[0]["models"]["far"] == {"state": "opening", "phase": "opening", "warm": False}
    tenant = node.add("far", phase=Phase.PROVING)
    await node.load(tenant)
    assert (await health(node))[0]["models"]["far"]["phase"] == "proving"
    node.add("near")
    tenant = node.add("far")
    cold = (await health(node))[0]["models"]["far"]
    assert cold == {
        "state": "new", "phase": "cold", "warm": False, "starts": 0, "slots": 2, "in_flight": 0, "waiting": 0,
        "loads": 0, "unloads": 0, "tokens_per_s": 0.0, "cache_hit_ratio": None,
        "memory": {"needed": {"ram_bytes": NEED.ram, "vram_bytes": NEED.vram}, "taken": None},
    }  # fmt: skip
    await node.load(tenant)
    tenant.taken = replace(NEED, ram=NEED.ram + 1)
    warm = (await health(node))[0]
    assert warm["models"]["far"] == {
        **cold, "state": "ready", "phase": "warm", "warm": True, "starts": 1, "loads": 1,
        "memory": {**cold["memory"], "taken": {"ram_bytes": NEED.ram + 1, "vram_bytes": NEED.vram}},
    }  # fmt: skip
    assert warm["models"]["near"]["phase"] == "cold"


async def test_a_failed_model_says_nothing_of_why(node: Observed) -> None:
    node.models.put(Entry("lost", phase=Phase.FAILED, why="/home/operator/secret.gguf: there is no such file"))
    body, _ = await health(node)
    assert body["models"]["lost"] == {"state": "failed", "phase": "failed", "warm": False}
    assert "secret" not in orjson.dumps(body).decode()


async def test_slots_queues_and_memory_add_up(node: Observed) -> None:
    one, two = node.add("one"), node.add("two")
    await node.load(two)
    gate = asyncio.Event()

    async def hold() -> None:
        async with node.pool.lease(one):
            await gate.wait()

    held = [asyncio.create_task(hold()) for _ in range(5)]
    await until(lambda: node.pool.waiting(one) == 3 and one.warm)
    one.taken = NEED
    body, code = await health(node)
    assert code == 200
    assert (body["models"]["one"]["in_flight"], body["models"]["one"]["waiting"]) == (2, 3)
    assert body["memory"]["set_aside"] == {"ram_bytes": 2 * NEED.ram, "vram_bytes": 2 * NEED.vram}
    assert body["memory"]["taken"] == {"ram_bytes": NEED.ram, "vram_bytes": NEED.vram}
    gate.set()
    await asyncio.gather(*held)


async def test_tokens_and_gpus_are_told(node: Observed) -> None:
    await node.load(node.add("one"))
    said = b'{"usage":{"prompt_tokens":40,"completion_tokens":600,"prompt_tokens_details":{"cached_tokens":30}}}'
    async with node.throughput.observed(Made(said), "one", "chat.completions", 0):
        pass
    unknown = replace(GPU, index=1, utilization=None, temperature_c=None, power_w=None)
    node.gpus = (GPU, unknown)
    body, _ = await health(node)
    assert body["models"]["one"]["cache_hit_ratio"] == 0.75
    assert body["models"]["one"]["tokens_per_s"] >= 0
    assert body["gpus"][0] == {
        "gpu": "0", "name": "NVIDIA H200", "memory_total_bytes": 150_000, "memory_used_bytes": 60_000,
        "utilization_ratio": 0.87, "temperature_celsius": 64, "power_watts": 412.5,
    }  # fmt: skip
    assert [body["gpus"][1][name] for name in ("utilization_ratio", "temperature_celsius", "power_watts")] == [None] * 3
    assert "GPU-1" not in orjson.dumps(body).decode()  # what tells this machine from all others is nobody's business
    assert body["registries"] == [{"url": "sqlite:///r.db", "state": "posted"}]


def test_every_word_is_described() -> None:
    assert set(SCHEMA["properties"]["status"]["enum"]) == {status.value for status in Status}
    assert {"downloading", "opening", "proving", "failed", "cold", "loading", "warm", "leaving", "unloading"} == set(
        PHASES
    )
