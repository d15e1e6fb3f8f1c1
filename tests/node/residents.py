"""Engines of the stand-in program, and a residency that runs, for tests of what is in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from node.chatml import Template
from node.engines.engine import Engine
from node.engines.llama import Build, LlamaEngine
from node.process import ProcessLimits
from node.residents.residency import Residency
from node.sizes.memory import Memory
from node.sizes.sizing import Sizing
from relay.limits import Limits


def fake_engine(folder: Path, program: Path, name: str, *flags: str, start_s: float = 600.0) -> LlamaEngine:
    """An engine with two slots that does not run yet."""
    return LlamaEngine(
        Build(program, "fake", gpu=False), name, folder / "w.gguf", Template("", own=True),
        Sizing(context=256, parallel=2, threads=1, gpu_layers=None, batch=None),
        flags, folder / f"{name}.sock", ProcessLimits(start_s=start_s, grace_s=1, backoff_first_s=0.01), Limits(),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def residency(budget: Memory, hold_s: float = 0.0) -> AsyncIterator[Residency]:
    """It runs until the context ends; then no engine is left."""

    async def unknown(_: Engine) -> None:
        return None

    resident = Residency(budget, hold_s, unknown)
    running = asyncio.create_task(resident.run())
    try:
        yield resident
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert all(tenant.engine.life.pid is None for tenant in resident.tenants)  # type: ignore[attr-defined]
