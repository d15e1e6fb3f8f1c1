"""The answer to `GET /health`: whether this node can be used, and how each of its models is doing.

It is public: it names models and what they need, and no files, no reasons and no keys. Not here: the counters
(metrics), and how it is shown to people (status_page).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from node.gpus import Gpu
from node.models import Entry, Models, Phase, Served
from node.pool import Pool
from node.residents.budget import Place
from node.residents.residency import Residency
from node.residents.tenant import Tenant
from node.sizes.memory import Memory
from node.telemetry.gpu_readings import GpuReadings, numbered
from node.telemetry.throughput import Rates, Throughput

Body = dict[str, Any]


class Status(StrEnum):
    """COLD: nothing is in memory, and what is asked for is loaded then."""

    STARTING = "starting"
    READY = "ready"
    COLD = "cold"
    DRAINING = "draining"


_CODES: Mapping[Status, int] = {Status.STARTING: 503, Status.READY: 200, Status.COLD: 202, Status.DRAINING: 503}
# How far a model has come, in one word: on its way here first, then where it is.
PHASES = (*(phase.value for phase in Phase if phase is not Phase.SERVED), *(place.value for place in Place))


class Health:
    """`boards` tells how the advert stands on each; `settled` whether each model was tried that need not be fetched."""

    def __init__(
        self,
        models: Models,
        pool: Pool,
        residency: Residency,
        readings: GpuReadings,
        throughput: Throughput,
        boards: Callable[[], list[dict[str, str]]],
        settled: Callable[[], bool],
    ) -> None:
        self._models = models
        self._pool = pool
        self._residency = residency
        self._readings = readings
        self._throughput = throughput
        self._boards = boards
        self._settled = settled
        self._has_settled = False  # for good: a model that comes later is no reason to call the others away

    async def answer(self) -> tuple[Body, int]:
        """The body, and the status of HTTP."""
        gpus = await self._readings.latest()
        self._has_settled = self._has_settled or self._settled()
        status = status_of(self._models.served, self._has_settled, self._pool.draining)
        body = {
            "status": status.value,
            "models": {entry.name: self._model(entry) for entry in self._models.entries},
            "memory": _together(self._residency),
            "gpus": [_gpu(number, gpu) for number, gpu in numbered(gpus)],
            "registries": self._boards(),
        }
        return body, _CODES[status]

    def _model(self, entry: Entry) -> Body:
        said: Body = {"state": phase_of(entry), "phase": phase_of(entry), "warm": False}
        if entry.phase is Phase.DOWNLOADING and entry.progress is not None:
            progress = entry.progress
            said["progress"] = {
                "done_bytes": progress.done, "total_bytes": progress.total, "bytes_per_s": round(progress.per_s)
            }  # fmt: skip
        if entry.served is None or entry.failure is not None:
            return said
        return said | self._served(entry.served.tenant, self._throughput.of(entry.name))

    def _served(self, tenant: Tenant, rates: Rates) -> Body:
        life = tenant.engine.life
        return {
            "state": life.state.value,
            "starts": life.starts,
            "slots": tenant.engine.slots,
            "in_flight": self._pool.in_flight(tenant),
            "waiting": self._pool.waiting(tenant),
            "warm": tenant.warm,
            "loads": tenant.loads,
            "unloads": tenant.unloads,
            "memory": {
                "needed": bytes_of(tenant.need),
                "taken": bytes_of(taken) if (taken := taken_by(tenant)) else None,
            },
            "tokens_per_s": round(rates.tokens_per_s, 1),
            "cache_hit_ratio": None if rates.cache_hit_ratio is None else round(rates.cache_hit_ratio, 3),
        }


def status_of(served: Iterable[Served], settled: bool, draining: bool) -> Status:
    """Of a node with these models that can be called; `settled`: it had come so far once."""
    models = tuple(served)
    if draining:
        return Status.DRAINING
    if not settled:
        return Status.STARTING
    if any(model.ready for model in models):
        return Status.READY
    return Status.COLD if models and not any(model.tenant.kept for model in models) else Status.STARTING


def phase_of(entry: Entry) -> str:
    """One of `PHASES`."""
    if entry.failure is not None:
        return Phase.FAILED.value
    if entry.phase is Phase.SERVED and entry.served is not None:
        return entry.served.tenant.place.value
    return entry.phase.value


def taken_by(tenant: Tenant) -> Memory | None:
    """What it holds now; None if it is not loaded, or nobody can tell."""
    return None if tenant.place is Place.COLD else tenant.taken


def set_aside(tenants: Iterable[Tenant]) -> Memory:
    """For those that are loaded."""
    return sum((tenant.counted for tenant in tenants if tenant.place is not Place.COLD), Memory())


def bytes_of(memory: Memory) -> dict[str, int]:
    return {"ram_bytes": memory.ram, "vram_bytes": memory.vram}


def _together(residency: Residency) -> Body:
    taken = (taken_by(tenant) for tenant in residency.tenants)
    return {
        "budget": bytes_of(residency.budget),
        "set_aside": bytes_of(set_aside(residency.tenants)),
        "taken": bytes_of(sum((each for each in taken if each is not None), Memory())),
    }


def _gpu(number: str, gpu: Gpu) -> Body:
    return {
        "gpu": number,
        "name": gpu.name,
        "memory_total_bytes": gpu.total_bytes,
        "memory_used_bytes": gpu.used_bytes,
        "utilization_ratio": gpu.utilization,
        "temperature_celsius": gpu.temperature_c,
        "power_watts": gpu.power_w,
    }
