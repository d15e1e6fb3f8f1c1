"""Many who want one file, and processes that die: one transfer, which goes on where it ended."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.store.progress import Progress
from node.store.store import Store
from node.uri import RemoteUri
from tests.fakes.weights import NAME, WeightsHost, digest, weights_host
from tests.node.fetcher import QUICK
from tests.programs import UP_LIMIT_S, Program, running, until

BIG = 6_000_000
WANTED = digest(NAME, BIG)
LIMITS = replace(QUICK, gap_s=0.5, fruitless=30)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[WeightsHost]:
    async with weights_host(tmp_path, {NAME: BIG}) as running_host:
        yield running_host


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = Store(tmp_path / "weights", "http://127.0.0.1:1", limits=LIMITS)
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def fetcher(tmp_path: Path, uri: str, name: str = "fetcher", times: int = 1) -> AsyncIterator[Program]:
    words = ["-m", "tests.node.fetcher", str(tmp_path / "weights"), uri, str(times)]
    given = {"LIMITS": json.dumps({"gap_s": LIMITS.gap_s, "fruitless": LIMITS.fruitless})}
    async with running(words, tmp_path / f"{name}.log", given) as program:
        yield program


async def sent(host: WeightsHost) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = (await host.control())["sent"]
    return answers


def one_transfer(answers: list[dict[str, Any]]) -> None:
    """Each answer goes on where the one before had brought the file to, or a little before where bytes were lost."""
    assert answers[0]["begin"] == 0
    ends = [each["begin"] + each["sent"] for each in answers]
    repeated = [end - after["begin"] for end, after in zip(ends, answers[1:], strict=False)]
    assert min(repeated, default=0) >= 0 and ends[-1] == BIG
    assert sum(each["sent"] for each in answers) == BIG + sum(repeated)
    assert sum(repeated) < BIG / 2


async def test_ten_downloads_of_one_file_through_a_bad_network_are_one_transfer(
    host: WeightsHost, store: Store, tmp_path: Path
) -> None:
    await host.control(bad=7)
    uri = f"{host.file()}#sha256={WANTED}"
    progresses = [Progress(str(number)) for number in range(5)]
    async with contextlib.AsyncExitStack() as others:
        there = [await others.enter_async_context(fetcher(tmp_path, uri, f"fetcher-{n}")) for n in range(5)]
        paths = await asyncio.gather(*(store.fetch(RemoteUri.parse(uri), progress) for progress in progresses))
        for program in there:
            assert await asyncio.wait_for(program.process.wait(), UP_LIMIT_S) == 0, program.output()
            assert f"at {paths[0]} {WANTED}" in program.output()
    assert len(set(paths)) == 1 and hashlib.sha256(paths[0].read_bytes()).hexdigest() == WANTED
    assert all(progress.done == progress.total == BIG for progress in progresses)
    answers = await sent(host)
    assert len(answers) > 10, "the network was bad"
    one_transfer(answers)


async def test_a_killed_process_s_download_is_gone_on_with(host: WeightsHost, tmp_path: Path) -> None:
    await host.begin({"stall": BIG * 2 // 3})
    async with fetcher(tmp_path, host.file()) as program:
        await until(lambda: size_of_part(tmp_path) >= BIG // 2, limit_s=UP_LIMIT_S)
        assert await program.stop(signal.SIGKILL) == -signal.SIGKILL
    there = size_of_part(tmp_path)
    async with fetcher(tmp_path, host.file()) as program:
        assert await program.process.wait() == 0, program.output()
        assert f"{WANTED}\n" in program.output()
    first, *_, last = await sent(host)
    assert (first["begin"], last["status"], last["asked"]) == (0, 206, f"bytes={there}-")
    assert await host.sent() < BIG * 3 // 2


async def test_who_waits_for_a_process_that_is_killed_takes_over(
    host: WeightsHost, store: Store, tmp_path: Path
) -> None:
    await host.begin({"stall": BIG // 2})
    async with fetcher(tmp_path, host.file()) as program:
        await until(lambda: size_of_part(tmp_path) >= 1_000_000, limit_s=UP_LIMIT_S)
        progress = Progress("waiting")
        waiting = asyncio.create_task(store.fetch(RemoteUri.parse(host.file()), progress))
        await until(lambda: progress.done >= 1_000_000, limit_s=UP_LIMIT_S)
        assert progress.total == BIG, "who waits knows as much as who fetches"
        await program.stop(signal.SIGKILL)
    assert hashlib.sha256((await waiting).read_bytes()).hexdigest() == WANTED
    one_transfer(await sent(host))


async def test_bytes_that_the_disk_may_have_lost_are_fetched_again(host: WeightsHost, tmp_path: Path) -> None:
    """After the machine's power went, only what was surely on the disk counts."""
    await host.begin({"stall": BIG // 2})
    async with fetcher(tmp_path, host.file()) as program:
        await until(lambda: size_of_part(tmp_path) >= 1_000_000, limit_s=UP_LIMIT_S)
        await program.stop(signal.SIGKILL)
    (state,) = (tmp_path / "weights").glob("*/*.part.json")
    state.write_text(json.dumps({**json.loads(state.read_text()), "boot": "another", "synced": 500_000}))
    async with fetcher(tmp_path, host.file()) as program:
        assert await program.process.wait() == 0, program.output()
    assert (await host.begins())[1:] == [500_000] and WANTED in program.output()


async def test_one_waiter_s_leaving_does_not_end_it_for_the_others_and_the_last_one_s_does(
    host: WeightsHost, tmp_path: Path
) -> None:
    store = Store(tmp_path / "weights", "http://127.0.0.1:1", limits=QUICK)
    await host.begin({"stall": BIG // 2})
    uri = RemoteUri.parse(host.file())
    progress = Progress("two")
    one, two = (asyncio.create_task(store.fetch(uri, each)) for each in (Progress("one"), progress))
    await until(lambda: progress.done >= 1_000_000, limit_s=UP_LIMIT_S)
    one.cancel()
    await asyncio.wait([one])
    assert not two.done() and "1 on their way" in repr(store)
    two.cancel()
    await asyncio.wait([two])
    assert one.cancelled() and two.cancelled() and "0 on their way" in repr(store)
    assert size_of_part(tmp_path) > 0, "what has come is kept"
    assert hashlib.sha256((await store.fetch(uri, Progress("three"))).read_bytes()).hexdigest() == WANTED
    one_transfer(await sent(host))
    await store.close()


async def test_closing_the_store_ends_what_is_on_its_way(host: WeightsHost, tmp_path: Path) -> None:
    store = Store(tmp_path / "weights", "http://127.0.0.1:1", limits=QUICK)
    await host.begin({"stall": BIG // 2})
    progress = Progress("one")
    waiting = asyncio.create_task(store.fetch(RemoteUri.parse(host.file()), progress))
    await until(lambda: progress.done >= 1_000_000, limit_s=UP_LIMIT_S)
    await store.close()
    await asyncio.wait([waiting])
    assert waiting.cancelled() and size_of_part(tmp_path) > 0


async def test_a_file_that_was_changed_here_is_not_served(host: WeightsHost, store: Store) -> None:
    uri = RemoteUri.parse(host.file())
    path = await store.fetch(uri, Progress("one"))
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        await host.begin()
        assert (await store.fetch(uri, Progress("two"))).read_bytes() == whole
        assert await host.sent() == BIG


async def test_a_file_that_was_merely_touched_or_copied_is_not_fetched_again(
    host: WeightsHost, store: Store, tmp_path: Path
) -> None:
    uri = RemoteUri.parse(host.file())
    path = await store.fetch(uri, Progress("one"))
    await host.begin()
    os.utime(path, ns=(1, 1))
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    assert (await store.fetch(uri, Progress("two"))) == path
    assert await host.seen() == []


async def test_another_digest_for_a_file_that_is_there_fetches_it_anew(host: WeightsHost, store: Store) -> None:
    path = await store.fetch(RemoteUri.parse(host.file()), Progress("one"))
    await host.control(change=NAME, reset=True)
    newer = digest(NAME, BIG, version=1)
    assert await store.fetch(RemoteUri.parse(f"{host.file()}#sha256={newer}"), Progress("two")) == path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == newer
    assert await host.sent() == BIG


def size_of_part(tmp_path: Path) -> int:
    return sum(part.stat().st_size for part in (tmp_path / "weights").glob("*/*.part"))
