"""What is in memory: loaded when asked for, unloaded when idle or for others, never while answering."""

from __future__ import annotations

import asyncio
import contextlib
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


def add(resident: Residency, folder: Path, program: Path, name: str, *flags: str, **more: object) -> Tenant:
    settings = {"kept": False, "idle_s": 600.0, **more}
    return resident.add(fake_engine(folder, program, name, *flags), NEED, **settings)  # type: ignore[arg-type]


async def use(resident: Residency, tenant: Tenant, limit_s: float = 20.0) -> None:
    async with resident.hold(tenant, limit_s) as engine:
        assert engine.life.state is State.READY


def pid(tenant: Tenant) -> int:
    found = tenant.engine.life.pid  # type: ignore[attr-defined]
    assert isinstance(found, int)
    return found


async def test_a_model_is_loaded_by_its_first_request_and_kept_for_the_next(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a")
        assert a.place is Place.COLD
        await asyncio.gather(*(use(resident, a) for _ in range(5)))
        await use(resident, a)
        assert (a.loads, a.unloads, a.place, a.warm) == (1, 0, Place.WARM, True)


async def test_the_third_takes_the_place_of_who_was_not_used_for_longest(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a, b, c = (add(resident, tmp_path, fake_llama, name) for name in "abc")
        await use(resident, a)
        await use(resident, b)
        await use(resident, a)
        left = pid(b)
        await use(resident, c)
        assert [tenant.place for tenant in (a, b, c)] == [Place.WARM, Place.COLD, Place.WARM]
        assert not alive(left)
        await use(resident, b)
        assert a.place is Place.COLD and b.loads == 2


async def test_who_answers_is_not_unloaded_and_takes_nobody_new(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED) as resident:
        a, b = add(resident, tmp_path, fake_llama, "a"), add(resident, tmp_path, fake_llama, "b")
        async with resident.hold(a, 20):
            waiting = asyncio.create_task(use(resident, b))
            await until(lambda: a.place is Place.LEAVING)
            again = asyncio.create_task(use(resident, a))
            await until(lambda: bool(a.wants))
            assert alive(pid(a)) and b.place is Place.COLD
        await waiting
        await again
        assert (a.loads, b.loads, a.unloads) == (2, 1, 1)


async def test_an_idle_model_is_unloaded(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a", idle_s=0.05)
        await use(resident, a)
        await until(lambda: a.place is Place.COLD)
        assert a.unloads == 1


async def test_a_kept_model_is_loaded_unasked_and_never_leaves(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED) as resident:
        a = add(resident, tmp_path, fake_llama, "a", kept=True, idle_s=0.0)
        b = add(resident, tmp_path, fake_llama, "b")
        await until(lambda: a.warm)
        with pytest.raises(Misfit, match="it needs"):  # at once: there never will be room
            await use(resident, b, limit_s=1e9)
        assert a.place is Place.WARM and not b.available
        resident.keep(a, kept=False, idle_s=600)
        await use(resident, b)
        assert b.available


async def test_who_waits_in_vain_is_told_when_to_come_back(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a", "--late", "1")
        with pytest.raises(Cold):
            await use(resident, a, limit_s=0.05)
        assert a.place is Place.LOADING and not a.wants and a.leases == 0
        await until(lambda: a.warm)  # the next one finds it loaded
        assert a.load_s is not None and a.load_s >= 1
        assert resident.expected_s(a) == 0


async def test_waiting_is_told_beat_by_beat(tmp_path: Path, fake_llama: Path) -> None:
    beats: list[float] = []

    async def beat(seconds: float) -> None:
        beats.append(seconds)

    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a", "--late", "0.5")
        async with resident.hold(a, 20, beat, 0.05):
            pass
    assert len(beats) >= 3 and all(seconds > 0 for seconds in beats)


async def test_who_leaves_while_waiting_leaves_no_trace(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED) as resident:
        a, b = add(resident, tmp_path, fake_llama, "a"), add(resident, tmp_path, fake_llama, "b", "--late", "60")
        async with resident.hold(a, 20):
            waiting = asyncio.create_task(use(resident, b))
            await until(lambda: bool(b.wants))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert not b.wants
        entering = asyncio.create_task(use(resident, b))
        await until(lambda: b.place is Place.LOADING)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert b.leases == 0


async def test_a_removed_model_ends_its_answers_and_sends_others_away(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(TWO) as resident:
        a = add(resident, tmp_path, fake_llama, "a")
        async with resident.hold(a, 20):
            running = pid(a)
            resident.dismiss(a)
            with pytest.raises(Gone):
                await use(resident, a)
            assert alive(running) and a in resident.tenants
        await until(lambda: a not in resident.tenants)
        assert not alive(running)


async def test_who_waits_for_a_model_that_is_removed_is_told(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED) as resident:
        a, b = add(resident, tmp_path, fake_llama, "a"), add(resident, tmp_path, fake_llama, "b")
        async with resident.hold(a, 20):
            waiting = asyncio.create_task(use(resident, b))
            await until(lambda: bool(b.wants))
            resident.dismiss(b)
            with pytest.raises(Gone):
                await waiting


async def test_an_engine_that_cannot_start_gives_its_place_to_others(tmp_path: Path, fake_llama: Path) -> None:
    async with residency(NEED) as resident:
        a, b = add(resident, tmp_path, fake_llama, "a", "--die", "broken"), add(resident, tmp_path, fake_llama, "b")
        waiting = asyncio.create_task(use(resident, a))
        await until(lambda: a.engine.life.failures > 0)
        await use(resident, b)
        waiting.cancel()
        with pytest.raises((NotReady, asyncio.CancelledError)):
            await waiting
        assert a.place is Place.COLD and b.warm


async def test_at_the_end_no_engine_is_left_whatever_it_is_at(tmp_path: Path, fake_llama: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        resident = await stack.enter_async_context(residency(Memory(ram=1000)))
        warm = add(resident, tmp_path, fake_llama, "warm", "--ignore-term")
        slow = add(resident, tmp_path, fake_llama, "slow", "--late", "60", kept=True)
        broken = add(resident, tmp_path, fake_llama, "broken", "--die", "no", kept=True)
        await use(resident, warm)
        pids = [pid(warm), pid(slow)]
        resident.dismiss(warm)
        await until(lambda: broken.engine.life.failures > 0)
    assert not any(map(alive, pids))
