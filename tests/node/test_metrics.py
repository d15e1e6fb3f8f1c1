"""`GET /metrics`: whole, by Prometheus' rules for names, and true at each scrape though models come and go."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from node.models import Entry, Phase
from node.sizes.memory import MIB
from node.store.progress import Progress
from relay.answer import Made
from tests.node.observed_node import BUDGET, GPU, NEED, Observed, observed
from tests.programs import ROOT

PREFIX = "waypost_node_"
NO_UNITS = ("milli", "kilo", "mega", "mib", "gib", "percent", "minutes", "hours", "_ms", "gauge", "counter")


@pytest.fixture
async def node(tmp_path: Path, fake_llama: Path) -> AsyncIterator[Observed]:
    async with observed(tmp_path, fake_llama) as made:
        yield made


async def scraped(node: Observed) -> dict[str, Metric]:
    """By name, as Prometheus reads it, and held against its rules."""
    text = await node.text()
    check_rules(text)
    return {family.name: family for family in text_string_to_metric_families(text)}


def check_rules(text: str) -> None:
    """What `promtool check metrics` finds wrong."""
    for kind in ("HELP", "TYPE"):
        names = re.findall(rf"^# {kind} (\S+) ", text, re.MULTILINE)
        assert not [name for name, count in Counter(names).items() if count > 1], kind
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for name, kind in types.items():
        assert re.fullmatch(r"waypost_node_[a-z][a-z_]*[a-z]", name), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert kind == "histogram" or not name.endswith(("_bucket", "_count", "_sum")), name
        assert not [unit for unit in NO_UNITS if unit in name], name
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith(".") or family.name.endswith("_created"), family.name
        rows = [(sample.name, *sorted(sample.labels.items())) for sample in family.samples]
        assert len(rows) == len(set(rows)), family.name
        assert all(sample.name.removesuffix("_total") in types or sample.name in types or family.type == "histogram"
                   for sample in family.samples)  # fmt: skip


def value(families: Mapping[str, Metric], name: str, /, **labels: str) -> float | None:
    samples = families[PREFIX + name].samples if PREFIX + name in families else []
    found = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
    assert len(found) <= 1
    return found[0] if found else None


async def test_an_empty_node_has_whole_metrics(node: Observed) -> None:
    found = await scraped(node)
    assert value(found, "memory_budget_bytes", memory="ram") == BUDGET.ram
    assert value(found, "memory_set_aside_bytes", memory="vram") == 0
    assert found[f"{PREFIX}gpu_power_watts"].samples == []


async def test_a_model_is_counted_from_its_load_to_its_unload(node: Observed) -> None:
    one = node.add("one")
    found = await scraped(node)
    assert value(found, "model_phase", model="one", phase="cold") == 1
    assert value(found, "model_memory_bytes", model="one", memory="ram", figure="needed") == NEED.ram
    assert value(found, "model_memory_bytes", model="one", memory="ram", figure="taken") is None
    await node.load(one)
    one.taken = replace(NEED, vram=3 * MIB)
    found = await scraped(node)
    assert value(found, "model_phase", model="one", phase="cold") == 0
    assert value(found, "model_phase", model="one", phase="warm") == 1
    assert value(found, "engine_state", model="one", state="ready") == 1
    assert value(found, "model_memory_bytes", model="one", memory="vram", figure="taken") == 3 * MIB
    assert value(found, "memory_set_aside_bytes", memory="ram") == NEED.ram
    assert [value(found, name, model="one") for name in ("slots", "in_flight", "waiting")] == [2, 0, 0]
    text = await node.text()
    assert 'waypost_node_model_loads_total{model="one"} 1.0' in text
    assert 'waypost_node_model_unloads_total{model="one"} 0.0' in text
    assert 'waypost_node_engine_starts_total{model="one"} 1.0' in text


async def test_models_come_and_go_between_scrapes(node: Observed) -> None:
    node.add("one")
    node.models.put(Entry("far", phase=Phase.DOWNLOADING, progress=Progress("far", done=3, total=7)))
    found = await scraped(node)
    assert (value(found, "download_bytes", model="far"), value(found, "download_total_bytes", model="far")) == (3, 7)
    assert value(found, "model_phase", model="far", phase="downloading") == 1
    assert value(found, "slots", model="far") is None
    node.models.put(Entry("far", phase=Phase.DOWNLOADING, progress=Progress("far")))
    assert value(await scraped(node), "download_total_bytes", model="far") is None
    node.models.drop("far")
    node.models.drop("one")
    node.add("two")
    text = await node.text()
    assert 'model="one"' not in text and 'model="far"' not in text and 'model="two"' in text


async def test_a_model_in_another_s_place_is_there_once(node: Observed) -> None:
    before = node.add("one")
    await node.load(before)
    node.add("one")  # the other still leaves
    found = await scraped(node)
    assert value(found, "model_phase", model="one", phase="cold") == 1
    assert value(found, "memory_set_aside_bytes", memory="ram") == NEED.ram


async def test_a_failed_model_has_a_phase_alone(node: Observed) -> None:
    node.models.put(Entry("lost", phase=Phase.FAILED, why="/secret.gguf: gone"))
    found = await scraped(node)
    assert value(found, "model_phase", model="lost", phase="failed") == 1
    assert "secret" not in await node.text()


async def test_tokens_are_counters(node: Observed) -> None:
    node.add("one")
    said = b'{"usage":{"prompt_tokens":40,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":30}}}'
    for _ in range(2):
        async with node.throughput.observed(Made(said), "one", "chat.completions", 0):
            pass
    text = await node.text()
    assert 'waypost_node_prompt_tokens_total{model="one"} 80.0' in text
    assert 'waypost_node_generated_tokens_total{model="one"} 12.0' in text
    assert 'waypost_node_cached_prompt_tokens_total{model="one"} 60.0' in text
    assert (value(await scraped(node), "tokens_per_second", model="one") or 0) >= 0


async def test_gpus_are_read_in_base_units_and_what_is_unknown_is_left_out(node: Observed) -> None:
    piece = replace(GPU, index=1, name='piece "a"\n', utilization=None, temperature_c=None, power_w=None)
    node.gpus = (GPU, piece, piece)
    found = await scraped(node)
    assert value(found, "gpu_utilization_ratio", gpu="0", name="NVIDIA H200") == 0.87
    assert value(found, "gpu_temperature_celsius", gpu="0") == 64
    assert value(found, "gpu_power_watts", gpu="0") == 412.5
    assert value(found, "gpu_memory_used_bytes", gpu="1.0", name='piece "a"\n') == 60_000
    assert value(found, "gpu_memory_total_bytes", gpu="1.1") == 150_000
    assert value(found, "gpu_power_watts", gpu="1.0") is None


async def test_boards_have_a_state(node: Observed) -> None:
    node.metrics.follow_boards(lambda: [{"url": "sqlite:///a.db", "state": "posted"}])
    found = await scraped(node)
    assert value(found, "registry_state", registry="sqlite:///a.db", state="posted") == 1
    assert value(found, "registry_state", registry="sqlite:///a.db", state="pending") == 0


async def test_every_metric_is_documented_and_no_other(node: Observed) -> None:
    node.metrics.follow_boards(list)
    there = set(re.findall(rf"^# TYPE {PREFIX}(\S+) ", await node.text(), re.MULTILINE))
    text = (ROOT / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", text.partition("## `GET /metrics`")[2], re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"[a-z_]+", row)}
    assert listed == {name for name in there if not name.endswith("_created")}
    used = {name.removesuffix("_bucket") for name in re.findall(rf"{PREFIX}([a-z_]+)", text) if name}
    assert used <= listed
