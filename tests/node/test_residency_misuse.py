"""What goes wrong while models come and go: requests that are broken off at any moment, engines that fail, less memory.

Not here: what a residency does in peace (test_residency).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from node.life import NotReady, State
from node.residents.budget import Place
from node.residents.residency import Residency
from node.residents.tenant import Cold, Gone, Misfit, Tenant
from node.sizes.memory import Memory
from tests.node.agent import alive
from tests.node.residents import fake_engine, residency
from tests.programs import until

NEED = Memory(ram=40)
TWO = Memory(ram=100)


def add(
    resident: Residency, folder: Path, program: Path, name: str, *flags: str, kept: bool = False, need: Memory = NEED
) -> Tenant:
    return resident.add(fake_engine(folder, program, name, *flags), need, kept=kept, idle_s=600.0)


async def use(resident: Residency, tenant: Tenant, limit_s: float = 20.0) -> None:
    async with resident.hold(tenant, limit_s) as engine:
        assert engine.life.state is State.READY


async def broken_off(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_request_broken_off_at_any_step_holds_nothing(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED) as resident:
        a, b = add(resident, tmp_path, fake_llama, "a"), add(resident, tmp_path, fake_llama, "b")
        for steps in range(40):
            tasks = [asyncio.create_task(use(resident, tenant)) for tenant in (a, b, a)]
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.gather(*map(broken_off, tasks))
            assert [(tenant.leases, tenant.wants) for tenant in (a, b)] == [(0, {}), (0, {})], f"after {steps} steps"
        for place in (Place.LOADING, Place.WARM, Place.COLD):
            task = asyncio.create_task(use(resident, b if a.place is place else a))
            await until(lambda place=place: place in (a.place, b.place))  # type: ignore[misc]
            await broken_off(task)
            assert (a.leases, b.leases, a.wants, b.wants) == (0, 0, {}, {})
        await use(resident, a)
        await use(resident, b)


async def test_whenever_it_is_stopped_no_engine_is_left(tmp_path: Path, fake_llama: Path) -> None:
    for steps in range(0, 60, 3):
        async with residency(NEED) as resident:
            a, b = add(resident, tmp_path, fake_llama, "a"), add(resident, tmp_path, fake_llama, "b", kept=True)
            using = asyncio.create_task(use(resident, a))
            for step in range(steps):
                await asyncio.sleep(0)
                if step == steps // 2:
                    resident.dismiss(b)
                    resident.dismiss(b)
        assert a.place is Place.COLD and b.place is Place.COLD, f"after {steps} steps"
        await broken_off(using)


async def test_one_that_is_dismissed_while_it_loads_or_leaves_is_gone(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a", "--late", "60", kept=True)
        await until(lambda: a.place is Place.LOADING)
        resident.dismiss(a)
        await until(lambda: not resident.tenants)
        b = add(resident, tmp_path, fake_llama, "b", "--ignore-term", kept=True)
        await until(lambda: b.warm)
        resident.keep(b, kept=False, idle_s=0.0)
        await until(lambda: b.place is Place.UNLOADING)
        resident.dismiss(b)
        await until(lambda: not resident.tenants)
        assert b.engine.life.state is State.STOPPED


async def test_who_leaves_the_queue_makes_way_for_those_behind(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO, hold_s=1e6) as resident:
        a = add(resident, tmp_path, fake_llama, "a")
        large = add(resident, tmp_path, fake_llama, "large", need=Memory(ram=90))
        small = add(resident, tmp_path, fake_llama, "small")
        async with resident.hold(a, 20):
            first = asyncio.create_task(use(resident, large))
            await until(lambda: bool(large.wants))
            second = asyncio.create_task(use(resident, small))
            await until(lambda: bool(small.wants))
            assert small.place is Place.COLD
            await broken_off(first)
            await second


async def test_beats_come_in_time_though_much_happens_meanwhile(tmp_path: Path, fake_llama: Path) -> None:
    beaten = asyncio.Event()

    async def beat(_: float) -> None:
        beaten.set()

    async def hold(resident: Residency, tenant: Tenant) -> None:
        async with resident.hold(tenant, 60, beat, 0.3):
            pass

    async with residency(NEED, hold_s=1e6) as resident:
        a, b = add(resident, tmp_path, fake_llama, "a"), add(resident, tmp_path, fake_llama, "b")
        async with resident.hold(a, 20):
            waiting = asyncio.create_task(hold(resident, b))
            async with asyncio.timeout(90):
                while not beaten.is_set():
                    resident.limit(NEED, 1e6)  # tells all who wait
                    await asyncio.sleep(0)
            await broken_off(waiting)


async def test_an_engine_that_fails_by_a_fault_of_ours_is_given_up(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a", "a null byte: \0", kept=True)
        await until(lambda: a.failed)
        await until(lambda: a.place is Place.COLD)
        with pytest.raises(NotReady):
            await use(resident, a)
        assert a.engine.life.starts == 1 and not a.available


async def test_who_waits_for_room_that_is_taken_away_is_told(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED, hold_s=1e6) as resident:
        a = add(resident, tmp_path, fake_llama, "a")
        b = add(resident, tmp_path, fake_llama, "b")
        async with resident.hold(a, 20):
            waiting = asyncio.create_task(use(resident, b, 1e9))
            await until(lambda: bool(b.wants))
            resident.limit(Memory(ram=39), 1e6)
            with pytest.raises(Misfit):
                await waiting
            assert a.warm and not b.available
        resident.limit(NEED, 0.0)
        await use(resident, b)


async def test_what_was_removed_and_is_asked_for_is_gone_at_once_and_twice(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a")
        async with resident.hold(a, 20):
            for _ in range(2):
                resident.dismiss(a)
                with pytest.raises(Gone):
                    await use(resident, a)
        await until(lambda: not resident.tenants)


async def test_a_broken_engine_that_ignores_its_end_is_killed_though_its_end_is_interrupted(
    tmp_path: Path, fake_llama: Path
) -> None:
    """It is told to end because it takes too long to start, and unloaded just then."""
    engine = fake_engine(tmp_path, fake_llama, "a", "--late", "600", "--ignore-term", start_s=1.0)
    running = asyncio.create_task(engine.run())
    await until(lambda: engine.life.pid is not None)
    pid = engine.life.pid
    assert pid is not None
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(running), 1.5)  # within its grace
    await broken_off(running)
    assert not alive(pid) and engine.life.pid is None


async def test_how_long_a_model_may_take_is_told_from_where_it_is(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED, hold_s=50.0) as resident:
        a = add(resident, tmp_path, fake_llama, "a", kept=True)
        b = add(resident, tmp_path, fake_llama, "b", "--late", "60")
        with pytest.raises(Cold) as cold:  # of a kept one too that is just being loaded
            await use(resident, a, limit_s=0.0)
        assert cold.value.retry_s >= 1
        await use(resident, a)
        os.kill(pid_of(a), 9)
        await a.engine.life.unready(10)
        assert not a.warm and a.load_s and a.load_s <= resident.expected_s(a) < a.load_s + 1
        await a.engine.life.ready()
        resident.keep(a, kept=False, idle_s=600)
        load_s = resident.expected_s(b)
        async with resident.hold(a, 20):
            assert load_s + 40 < resident.expected_s(b) <= load_s + 60
            resident.limit(NEED, 0.0)
            assert resident.expected_s(b) < load_s + 10
        task = asyncio.create_task(use(resident, b))
        await until(lambda: b.place is Place.LOADING)
        assert 1 <= resident.expected_s(b) <= load_s
        await broken_off(task)


def pid_of(tenant: Tenant) -> int:
    found = tenant.engine.life.pid  # type: ignore[attr-defined]
    assert isinstance(found, int)
    return found
