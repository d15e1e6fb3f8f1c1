"""A fetch that is cancelled at any point leaves nothing behind: no task, no lock, no open file, no thread at work."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.store.blocking import Blocking
from node.store.progress import Progress
from node.store.room import Room
from node.store.store import Store
from node.uri import RemoteUri
from tests.fakes.weights import NAME, WeightsHost, digest, weights_host
from tests.node.fetcher import QUICK
from tests.programs import UP_LIMIT_S, until

BIG = 3_000_000


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[WeightsHost]:
    async with weights_host(tmp_path, {NAME: BIG}) as running:
        yield running


def open_below(folder: Path) -> list[str]:
    """The files below it that this process has open."""
    links = []
    for each in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{each}"))
        except FileNotFoundError:  # of the listing itself
            continue
    return [link for link in links if link.startswith(str(folder))]


async def test_wherever_it_is_cancelled_nothing_is_left(host: WeightsHost, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    uri = RemoteUri.parse(f"{host.file()}#sha256={digest(NAME, BIG)}")
    store = Store(folder, "http://127.0.0.1:1", limits=QUICK)
    before = asyncio.all_tasks()
    ended = 0
    for turns in range(0, 400, 3):
        await host.begin({"cut": BIG // 3}, {"status": 500})
        fetching = asyncio.create_task(store.fetch(uri, Progress("model")))
        for _ in range(turns):
            await asyncio.sleep(0)
        fetching.cancel()
        await asyncio.wait([fetching])
        ended += not fetching.cancelled()
        assert "0 on their way" in repr(store) and open_below(folder) == [], turns
    await until(lambda: asyncio.all_tasks() == before, lambda: repr(asyncio.all_tasks() - before), limit_s=UP_LIMIT_S)
    path = await store.fetch(uri, Progress("model"))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest(NAME, BIG)
    await store.close()


async def test_who_asks_again_while_the_last_one_leaves_is_served_and_owned(host: WeightsHost, tmp_path: Path) -> None:
    store = Store(tmp_path / "weights", "http://127.0.0.1:1", limits=replace(QUICK, gap_s=1.0))
    before = asyncio.all_tasks()
    await host.begin(stall=1_900_000)  # the first MiB is on the disk by then, and what follows is written as it ends
    uri, progress, later = RemoteUri.parse(host.file()), Progress("one"), Progress("two")
    one = asyncio.create_task(store.fetch(uri, progress))
    await until(lambda: progress.done > 0, limit_s=UP_LIMIT_S)
    one.cancel()
    await asyncio.sleep(0)
    two = asyncio.create_task(store.fetch(uri, later))
    await asyncio.wait([one])
    assert not two.done() and "1 on their way" in repr(store)
    await store.close()
    await asyncio.wait([two])
    assert two.cancelled() and asyncio.all_tasks() == before and open_below(tmp_path / "weights") == []


async def test_a_second_cancel_does_not_leave_the_thread_behind(tmp_path: Path) -> None:
    blocking = Blocking(Room(tmp_path, 0))
    entered, go, left = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        go.wait()
        left.set()

    task = asyncio.create_task(blocking.do(work))
    await until(entered.is_set, limit_s=UP_LIMIT_S)
    for _ in range(3):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    left_early = task.done()
    go.set()
    assert not left_early
    await asyncio.wait([task])
    assert task.cancelled() and left.is_set()
