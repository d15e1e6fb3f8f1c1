"""Slots of an engine: leased in order, refused in time, never lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.chatml import Template
from node.engines.llama import Build, LlamaEngine
from node.pool import Pool, PoolLimits
from node.process import ProcessLimits
from node.sizing import Sizing
from relay.answer import Limits
from relay.errors import TooManyRequests, Unavailable
from tests.programs import until


@contextlib.asynccontextmanager
async def pooled(
    folder: Path, program: Path, limits: PoolLimits, *flags: str
) -> AsyncIterator[tuple[Pool, LlamaEngine]]:
    """A pool over one engine with two slots."""
    engine = LlamaEngine(
        Build(program, "fake", gpu=False), "m", folder / "w.gguf", Template("", own=True),
        Sizing(256, 2, 1, None, None),
        flags, folder / "m.sock", ProcessLimits(grace_s=1), Limits(),
    )  # fmt: skip
    running = asyncio.create_task(engine.run())
    try:
        yield Pool([engine], limits), engine
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def counts(pool: Pool) -> tuple[int, int]:
    return pool.in_flight("m"), pool.waiting("m")


async def hold(pool: Pool, until_set: asyncio.Event, entered: list[int] | None = None, number: int = 0) -> None:
    async with pool.lease("m"):
        if entered is not None:
            entered.append(number)
        await until_set.wait()


async def test_slots_are_given_in_the_order_they_were_asked_for(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits()) as (pool, engine):
        await engine.life.ensure_ready(10)
        gate, entered = asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(hold(pool, gate, entered, number)) for number in range(5)]
        await until(lambda: counts(pool) == (2, 3), 5)
        gate.set()
        await asyncio.gather(*tasks)
        assert entered == [0, 1, 2, 3, 4]
        assert counts(pool) == (0, 0)


async def test_counts_are_zero_after_cancellations_at_every_point(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(queue_s=5)) as (pool, engine):
        await engine.life.ensure_ready(10)
        for steps in range(12):
            gate = asyncio.Event()
            tasks = [asyncio.create_task(hold(pool, gate)) for _ in range(6)]
            for step in range(steps):
                await asyncio.sleep(0)
                if step == steps // 2:
                    tasks[0].cancel()  # so that a slot is being handed over when the others are cancelled
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert counts(pool) == (0, 0), f"after {steps} steps"
        async with pool.lease("m"):
            assert counts(pool) == (1, 0)


async def test_a_full_queue_is_refused_at_once_and_a_long_wait_in_time(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(queue_s=0.05, queue=1)) as (pool, engine):
        await engine.life.ensure_ready(10)
        gate = asyncio.Event()
        tasks = [asyncio.create_task(hold(pool, gate)) for _ in range(3)]
        await until(lambda: counts(pool) == (2, 1), 5)
        with pytest.raises(TooManyRequests) as refused:
            await hold(pool, gate)
        assert refused.value.headers()["Retry-After"] == "1"
        with pytest.raises(TooManyRequests):
            await tasks[2]
        assert counts(pool) == (2, 0)
        gate.set()
        await asyncio.gather(*tasks[:2])
        assert counts(pool) == (0, 0)


async def test_a_starting_engine_is_waited_for(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(ready_s=10), "--late", "0.3") as (pool, _):
        async with pool.lease("m") as engine:
            assert engine.life.starts == 1
        assert counts(pool) == (0, 0)


async def test_an_engine_that_does_not_come_is_503_with_retry_after(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(ready_s=0.05), "--die", "no") as (pool, _):
        with pytest.raises(Unavailable) as refused:
            await hold(pool, asyncio.Event())
        assert refused.value.code == "engine_not_ready"
        assert refused.value.retry_after_s is not None
        assert counts(pool) == (0, 0)


async def test_draining_refuses_what_is_new_and_waits_for_what_runs(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits()) as (pool, engine):
        await engine.life.ensure_ready(10)
        assert await pool.drain(0.0)
        gate = asyncio.Event()
    async with pooled(tmp_path, fake_llama, PoolLimits()) as (pool, engine):
        await engine.life.ensure_ready(10)
        tasks = [asyncio.create_task(hold(pool, gate)) for _ in range(3)]
        await until(lambda: counts(pool) == (2, 1), 5)
        assert not await pool.drain(0.01)
        with pytest.raises(Unavailable):
            await hold(pool, gate)
        draining = asyncio.create_task(pool.drain(5))
        gate.set()
        assert await draining
        await asyncio.gather(*tasks)


async def test_a_drain_waits_for_bodies_that_are_still_read_and_lets_them_in(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits()) as (pool, engine):
        await engine.life.ensure_ready(10)
        with pool.admitting():
            assert not await pool.drain(0.0)
            async with pool.lease("m", admitted=True):
                assert counts(pool) == (1, 0)
            assert not await pool.drain(0.0)
        assert await pool.drain(0.0)
        with pytest.raises(Unavailable), pool.admitting():
            pass
