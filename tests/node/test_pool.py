"""Slots of an engine: leased in order, refused in time, never lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.pool import Pool, PoolLimits
from node.residents.tenant import Tenant
from node.sizes.memory import Memory
from relay.errors import TooManyRequests, Unavailable
from tests.node.residents import fake_engine, residency
from tests.programs import until


@dataclass
class Pooled:
    """A pool over one engine with two slots."""

    pool: Pool
    tenant: Tenant

    def counts(self) -> tuple[int, int]:
        return self.pool.in_flight(self.tenant), self.pool.waiting(self.tenant)

    async def hold(self, until_set: asyncio.Event, entered: list[int] | None = None, number: int = 0) -> None:
        async with self.pool.lease(self.tenant):
            if entered is not None:
                entered.append(number)
            await until_set.wait()


@contextlib.asynccontextmanager
async def pooled(folder: Path, program: Path, limits: PoolLimits, *flags: str) -> AsyncIterator[Pooled]:
    async with residency(Memory(ram=100)) as resident:
        tenant = resident.add(fake_engine(folder, program, "m", *flags), Memory(ram=10), kept=True, idle_s=600)
        made = Pooled(Pool(resident, limits), tenant)
        yield made
        assert made.pool.idle, f"left behind: {made.pool!r}"


async def test_slots_are_given_in_the_order_they_were_asked_for(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits()) as m:
        await m.tenant.engine.life.ready()
        gate, entered = asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(m.hold(gate, entered, number)) for number in range(5)]
        await until(lambda: m.counts() == (2, 3))
        gate.set()
        await asyncio.gather(*tasks)
        assert entered == [0, 1, 2, 3, 4]
        assert m.counts() == (0, 0)


async def test_counts_are_zero_after_cancellations_at_every_point(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(queue_s=5)) as m:
        await m.tenant.engine.life.ready()
        for steps in range(12):
            gate = asyncio.Event()
            tasks = [asyncio.create_task(m.hold(gate)) for _ in range(6)]
            for step in range(steps):
                await asyncio.sleep(0)
                if step == steps // 2:
                    tasks[0].cancel()  # so that a slot is being handed over when the others are cancelled
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert m.counts() == (0, 0), f"after {steps} steps"
        async with m.pool.lease(m.tenant):
            assert m.counts() == (1, 0)


async def test_one_that_leaves_just_as_its_turn_comes_only_leaves(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(queue_s=5)) as m:
        await m.tenant.engine.life.ready()
        gate = asyncio.Event()

        async def ends_as_it_leaves() -> None:
            async with m.pool.lease(m.tenant):
                await until(lambda: m.counts() == (2, 1))
                waiting.cancel()

        others = [asyncio.create_task(m.hold(gate)), asyncio.create_task(ends_as_it_leaves())]
        await until(lambda: m.counts() == (2, 0))
        waiting = asyncio.create_task(m.hold(gate))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await asyncio.gather(*others)
        assert m.counts() == (0, 0)


async def test_a_full_queue_is_refused_at_once_and_a_long_wait_in_time(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(queue_s=0.05, queue=1)) as m:
        await m.tenant.engine.life.ready()
        gate = asyncio.Event()
        tasks = [asyncio.create_task(m.hold(gate)) for _ in range(3)]
        await until(lambda: m.counts() == (2, 1))
        with pytest.raises(TooManyRequests) as refused:
            await m.hold(gate)
        assert refused.value.headers()["Retry-After"] == "8"  # one waits, and two run that are taken to need 5 s
        with pytest.raises(TooManyRequests):
            await tasks[2]
        assert m.counts() == (2, 0)
        gate.set()
        await asyncio.gather(*tasks[:2])
        assert m.counts() == (0, 0)


async def test_a_starting_engine_is_waited_for(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(ready_s=10), "--late", "0.3") as m:
        async with m.pool.lease(m.tenant) as engine:
            assert engine.life.starts == 1
        assert m.counts() == (0, 0)


async def test_an_engine_that_does_not_come_is_503_with_retry_after(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits(ready_s=10), "--die", "no") as m:
        with pytest.raises(Unavailable) as refused:
            await m.hold(asyncio.Event())
        assert refused.value.code == "engine_not_ready"
        assert refused.value.retry_after_s is not None
        assert m.counts() == (0, 0)


async def test_draining_refuses_what_is_new_and_waits_for_what_runs(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits()) as m:
        await m.tenant.engine.life.ready()
        assert await m.pool.drain(0.0)
        gate = asyncio.Event()
    async with pooled(tmp_path, fake_llama, PoolLimits()) as m:
        await m.tenant.engine.life.ready()
        tasks = [asyncio.create_task(m.hold(gate)) for _ in range(3)]
        await until(lambda: m.counts() == (2, 1))
        draining = asyncio.create_task(m.pool.drain(60))
        await until(lambda: m.pool.draining)
        with pytest.raises(Unavailable) as refused:
            await m.hold(gate)
        load_s = m.tenant.load_s
        assert load_s is not None and refused.value.retry_after_s is not None
        assert 10 <= refused.value.retry_after_s <= 11 + load_s  # so long may the three take, and then a new start
        assert m.counts() == (2, 1)  # who waits was let in before
        gate.set()
        assert await draining
        await asyncio.gather(*tasks)


async def test_who_still_waits_when_the_time_of_a_drain_is_over_may_go_elsewhere(
    tmp_path: Path, fake_llama: Path
) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits()) as m:
        await m.tenant.engine.life.ready()
        gate = asyncio.Event()
        tasks = [asyncio.create_task(m.hold(gate)) for _ in range(3)]
        await until(lambda: m.counts() == (2, 1))
        assert not await m.pool.drain(0.01)
        with pytest.raises(Unavailable) as refused:
            await tasks[2]
        assert (refused.value.code, refused.value.says_when) == ("draining", True)
        assert m.counts() == (2, 0)
        gate.set()
        await asyncio.gather(*tasks[:2])
        assert await m.pool.drain(1)


async def test_a_drain_waits_for_bodies_that_are_still_read_and_lets_them_in(tmp_path: Path, fake_llama: Path) -> None:
    async with pooled(tmp_path, fake_llama, PoolLimits()) as m:
        await m.tenant.engine.life.ready()
        with m.pool.admitting():
            assert not await m.pool.drain(0.0)
            async with m.pool.lease(m.tenant, admitted=True):
                assert m.counts() == (1, 0)
            assert not await m.pool.drain(0.0)
        assert await m.pool.drain(0.0)
        with pytest.raises(Unavailable), m.pool.admitting():
            pass


async def test_who_finds_all_slots_taken_by_others_that_wait_for_the_model_is_told_when_it_may_be_there(
    tmp_path: Path, fake_llama: Path
) -> None:
    async with residency(Memory(ram=100)) as resident:
        engine = fake_engine(tmp_path, fake_llama, "m", "--late", "60")
        tenant = resident.add(engine, Memory(ram=10), kept=False, idle_s=600)
        m = Pooled(Pool(resident, PoolLimits(queue_s=0.05, queue=1, ready_s=60)), tenant)
        tasks = [asyncio.create_task(m.hold(asyncio.Event())) for _ in range(2)]
        await until(lambda: m.counts() == (2, 0))
        tasks.append(asyncio.create_task(m.hold(asyncio.Event())))
        await until(lambda: m.counts() == (2, 1))
        with pytest.raises(Unavailable) as full:
            await m.hold(asyncio.Event())
        with pytest.raises(Unavailable) as late:
            await tasks[2]
        assert (full.value.code, late.value.code) == ("model_cold", "model_cold")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert m.counts() == (0, 0)
