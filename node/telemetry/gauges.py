"""What is read, not kept, whenever metrics are asked for: engines, memory, downloads, tokens, boards, GPUs.

Models come and go while the node runs, so each is looked up anew. Not here: what is counted as it happens (metrics).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from node.gpus import Gpu
from node.life import State
from node.models import Models, Phase
from node.pool import Pool
from node.publishing.poster import Standing
from node.residents.residency import Residency
from node.residents.tenant import Tenant
from node.seats import Outcome
from node.sizes.memory import Memory
from node.telemetry.gpu_readings import numbered
from node.telemetry.health import PHASES, phase_of, set_aside, taken_by
from node.telemetry.throughput import Throughput

_Family = TypeVar("_Family", GaugeMetricFamily, CounterMetricFamily)
_Row = tuple[Sequence[str], float | None]


class Engines(Collector):
    """The engine of each model that can be called, and its slots."""

    def __init__(self, models: Models, pool: Pool) -> None:
        self._models = models
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        tenants = [(model.name, model.tenant) for model in self._models.served]
        yield _filled(_plain("admitted", "Requests that are being read or answered.", []), [([], self._pool.admitted)])
        yield _gauge("in_flight", "Slots that requests hold.", tenants, self._pool.in_flight)
        yield _gauge("waiting", "Requests that wait for a slot.", tenants, self._pool.waiting)
        yield _gauge("slots", "Slots.", tenants, lambda tenant: tenant.engine.slots)
        yield _filled(
            _counter("admissions", "Requests by what became of them at the slots.", ["model", "outcome"]),
            (
                ([name, each.value], self._pool.outcomes(tenant).get(each, 0))
                for name, tenant in tenants
                for each in Outcome
            ),
        )
        starts = (([name], tenant.engine.life.starts) for name, tenant in tenants)
        yield _filled(_counter("engine_starts", "Starts of the engine.", ["model"]), starts)
        yield _filled(
            _plain("engine_state", "1 at the engine's state.", ["model", "state"]),
            (([name, each.value], tenant.engine.life.state is each) for name, tenant in tenants for each in State),
        )


class Stays(Collector):
    """Which models are in memory, how often they came and went, and how much of it they take."""

    def __init__(self, models: Models, residency: Residency) -> None:
        self._models = models
        self._residency = residency

    def collect(self) -> Iterator[Metric]:
        entries = self._models.entries
        phases = (([entry.name, each], phase_of(entry) == each) for entry in entries for each in PHASES)
        yield _filled(_plain("model_phase", "1 at how far the model has come.", ["model", "phase"]), phases)
        tenants = [(model.name, model.tenant) for model in self._models.served]
        loads = (([name], tenant.loads) for name, tenant in tenants)
        yield _filled(_counter("model_loads", "Loads into memory.", ["model"]), loads)
        unloads = (([name], tenant.unloads) for name, tenant in tenants)
        yield _filled(_counter("model_unloads", "Unloads from memory.", ["model"]), unloads)
        held = _plain(
            "model_memory_bytes", "What a model is expected to need, and what its processes were last seen to take.",
            ["model", "memory", "figure"],
        )  # fmt: skip
        for name, tenant in tenants:
            _filled(held, _memory([name], "needed", tenant.need))
            _filled(held, _memory([name], "taken", taken_by(tenant)))
        yield held
        budget = _plain("memory_budget_bytes", "What models may take together.", ["memory"])
        yield _filled(budget, _memory([], None, self._residency.budget))
        aside = _plain("memory_set_aside_bytes", "What is set aside for the models that are in memory.", ["memory"])
        yield _filled(aside, _memory([], None, set_aside(self._residency.tenants)))


class Downloads(Collector):
    """Weights on their way."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        entries = [entry for entry in self._models.entries if entry.phase is Phase.DOWNLOADING]
        coming = [(entry.name, entry.progress) for entry in entries if entry.progress is not None]
        done = (([name], progress.done) for name, progress in coming)
        yield _filled(_plain("download_bytes", "What has come of a model's weights.", ["model"]), done)
        total = (([name], progress.total) for name, progress in coming)
        yield _filled(_plain("download_total_bytes", "What is to come in all, where that is known.", ["model"]), total)


class Tokens(Collector):
    """What models read and wrote."""

    def __init__(self, models: Models, throughput: Throughput) -> None:
        self._models = models
        self._throughput = throughput

    def collect(self) -> Iterator[Metric]:
        rates = [(model.name, self._throughput.of(model.name)) for model in self._models.served]
        prompt = (([name], rate.prompt_tokens) for name, rate in rates)
        yield _filled(_counter("prompt_tokens", "Tokens of prompts, cached ones too.", ["model"]), prompt)
        generated = (([name], rate.generated_tokens) for name, rate in rates)
        yield _filled(_counter("generated_tokens", "Tokens that were generated.", ["model"]), generated)
        cached = (([name], rate.cached_tokens) for name, rate in rates)
        yield _filled(_counter("cached_prompt_tokens", "Tokens of prompts found in the cache.", ["model"]), cached)
        speed = (([name], rate.tokens_per_s) for name, rate in rates)
        yield _filled(_plain("tokens_per_second", "Tokens generated, over the last minute.", ["model"]), speed)


class Boards(Collector):
    """How the newest advert stands on each board."""

    def __init__(self, standings: Callable[[], list[dict[str, str]]]) -> None:
        self._standings = standings

    def collect(self) -> Iterator[Metric]:
        boards = self._standings()
        rows = (([board["url"], each.value], board["state"] == each.value) for board in boards for each in Standing)
        yield _filled(_plain("registry_state", "1 at what became of the newest advert.", ["registry", "state"]), rows)


class Devices(Collector):
    """GPUs, as `reading` says."""

    def __init__(self) -> None:
        self.reading: Sequence[Gpu] = ()

    def collect(self) -> Iterator[Metric]:
        figures: Sequence[tuple[str, str, Callable[[Gpu], float | None]]] = (
            ("utilization_ratio", "Share of the time in which the GPU was at work.", lambda gpu: gpu.utilization),
            ("memory_used_bytes", "Its memory that is in use, by anybody.", lambda gpu: gpu.used_bytes),
            ("memory_total_bytes", "Its memory.", lambda gpu: gpu.total_bytes),
            ("temperature_celsius", "Its temperature.", lambda gpu: gpu.temperature_c),
            ("power_watts", "What it draws.", lambda gpu: gpu.power_w),
        )
        for name, text, read in figures:
            rows = (([number, gpu.name], read(gpu)) for number, gpu in numbered(self.reading))
            yield _filled(_plain(f"gpu_{name}", text, ["gpu", "name"]), rows)


def _gauge(
    name: str, text: str, tenants: Iterable[tuple[str, Tenant]], read: Callable[[Tenant], float]
) -> GaugeMetricFamily:
    return _filled(_plain(name, text, ["model"]), (([model], read(tenant)) for model, tenant in tenants))


def _plain(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"waypost_node_{name}", text, labels=labels)


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    """Prometheus appends `_total` to the name."""
    return CounterMetricFamily(f"waypost_node_{name}", text, labels=labels)


def _filled(family: _Family, rows: Iterable[_Row]) -> _Family:
    """With its rows; one without a value is left out."""
    for labels, value in rows:
        if value is not None:
            family.add_metric(labels, float(value))
    return family


def _memory(labels: Sequence[str], figure: str | None, memory: Memory | None) -> Iterator[_Row]:
    further = [] if figure is None else [figure]
    if memory is not None:
        yield [*labels, "ram", *further], memory.ram
        yield [*labels, "vram", *further], memory.vram
