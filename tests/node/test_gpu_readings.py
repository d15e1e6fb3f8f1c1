"""Readings of GPUs: never more than one a second, and nobody waits for a driver that has hung."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

from node.gpus import Gpu
from node.telemetry.gpu_readings import GpuReadings, numbered
from tests.node.observed_node import GPU
from tests.programs import until


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


class Driver:
    """Answers when it is let, from a thread that it must not share with the loop."""

    def __init__(self) -> None:
        self.calls = 0
        self.let = threading.Event()
        self.let.set()
        self.fault: Exception | None = None

    def __call__(self) -> tuple[Gpu, ...]:
        assert threading.current_thread() is not threading.main_thread()
        self.calls += 1
        self.let.wait(60)
        if self.fault is not None:
            raise self.fault
        return (replace(GPU, used_bytes=self.calls),)


async def test_many_who_ask_at_once_share_one_reading_a_second() -> None:
    driver, clock = Driver(), Clock()
    readings = GpuReadings(driver, clock)
    found = await asyncio.gather(*(readings.latest() for _ in range(50)))
    assert {each[0].used_bytes for each in found} == {1}
    assert (await readings.latest(), driver.calls) == (found[0], 1)
    clock.now += 1.1
    assert (await readings.latest())[0].used_bytes == 2


async def test_a_driver_that_hangs_is_asked_once_and_waited_for_by_nobody() -> None:
    driver, clock = Driver(), Clock()
    readings = GpuReadings(driver, clock)
    before = await readings.latest()
    driver.let.clear()
    clock.now += 3
    waiting = asyncio.create_task(readings.latest())
    await until(lambda: driver.calls == 2)
    clock.now += 3  # longer than anybody waits
    assert await readings.latest() == before
    clock.now += 10
    assert await readings.latest() == ()  # too old to be shown
    assert driver.calls == 2
    driver.let.set()
    assert (await waiting)[0].used_bytes == 2
    assert (await readings.latest())[0].used_bytes == 2


async def test_a_reading_that_fails_is_none_and_the_next_one_is_tried() -> None:
    driver, clock = Driver(), Clock()
    readings = GpuReadings(driver, clock)
    driver.fault = RuntimeError("the driver was unloaded")
    assert await readings.latest() == ()
    driver.fault = None
    clock.now += 2
    assert len(await readings.latest()) == 1


async def test_who_leaves_while_it_is_read_takes_nothing_from_the_others() -> None:
    driver = Driver()
    driver.let.clear()
    readings = GpuReadings(driver, Clock())
    left, stays = asyncio.create_task(readings.latest()), asyncio.create_task(readings.latest())
    await until(lambda: driver.calls == 1)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    driver.let.set()
    assert len(await stays) == 1


def test_pieces_of_one_gpu_are_told_apart() -> None:
    pieces = [replace(GPU, index=0), replace(GPU, index=1), replace(GPU, index=1)]
    assert [number for number, _ in numbered(pieces)] == ["0", "1.0", "1.1"]
