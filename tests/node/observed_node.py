"""What health and metrics are read from, without a server: models at any phase, engines of the stand-in, GPUs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from node.gpus import Gpu
from node.models import Entry, Models, Phase, Profile, Served
from node.pool import Pool, PoolLimits
from node.residents.residency import Residency
from node.residents.tenant import Tenant
from node.sizes.memory import MIB, Memory
from node.telemetry.gpu_readings import GpuReadings
from node.telemetry.health import Health
from node.telemetry.metrics import Metrics
from node.telemetry.throughput import Throughput
from tests.node.residents import fake_engine, residency

NEED = Memory(ram=40 * MIB, vram=10 * MIB)
BUDGET = Memory(ram=100 * MIB, vram=100 * MIB)
GPU = Gpu(0, "GPU-1", "NVIDIA H200", 150_000, 60_000, 90_000, 0.87, 64, 412.5)


@dataclass
class Observed:
    """A node's state, and those who tell of it."""

    folder: Path
    program: Path
    residency: Residency
    models: Models = field(default_factory=Models)
    throughput: Throughput = field(default_factory=Throughput)
    metrics: Metrics = field(default_factory=Metrics)
    gpus: tuple[Gpu, ...] = ()
    settled: bool = True

    def __post_init__(self) -> None:
        self.pool = Pool(self.residency, PoolLimits())
        self.readings = GpuReadings(lambda: self.gpus)
        self.health = Health(
            self.models, self.pool, self.residency, self.readings, self.throughput,
            lambda: [{"url": "sqlite:///r.db", "state": "posted"}], lambda: self.settled,
        )  # fmt: skip
        self.metrics.follow(self.models, self.pool, self.residency, self.throughput)

    def add(self, name: str, *flags: str, kept: bool = False, phase: Phase = Phase.SERVED) -> Tenant:
        """A further model of the stand-in."""
        tenant = self.residency.add(fake_engine(self.folder, self.program, name, *flags), NEED, kept=kept, idle_s=600)
        served = Served(name, (), ("chat.completions",), Profile("fake"), (), (), tenant)
        self.models.put(Entry(name, kept, phase, served=served, need=NEED))
        return tenant

    async def load(self, tenant: Tenant) -> None:
        async with self.residency.hold(tenant, 20):
            pass

    async def text(self) -> str:
        """What `GET /metrics` answers."""
        body = self.metrics.render(await self.readings.latest()).body
        assert isinstance(body, bytes)
        return body.decode()


@contextlib.asynccontextmanager
async def observed(folder: Path, program: Path) -> AsyncIterator[Observed]:
    async with residency(BUDGET) as resident:
        yield Observed(folder, program, resident)
