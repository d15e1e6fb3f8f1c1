"""One child process: started, probed, restarted, stopped with its group, its last words kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.life import NotReady, State
from node.process import Process, ProcessLimits
from node.tail import Tail
from tests.node.agent import alive
from tests.programs import until

QUICK = ProcessLimits(start_s=5, grace_s=0.5, probe_every_s=0.01, backoff_first_s=0.02, backoff_most_s=0.1)


@contextlib.asynccontextmanager
async def kept_up(
    folder: Path, script: str, limits: ProcessLimits = QUICK, probed: Counter[bool] | None = None
) -> AsyncIterator[Process]:
    """A process that is ready once it has made the file `ready`. `probed`: how often it was asked, by the answer."""
    ready, answers = folder / "ready", Counter[bool]() if probed is None else probed

    async def probe() -> bool:
        answers[ready.exists()] += 1
        return ready.exists()

    command = [sys.executable, "-c", f"import os, signal, sys, time; from pathlib import Path\n{script}"]
    environment = {**os.environ, "READY": str(ready)}
    process = Process(
        "it", command, environment, prepare=lambda: ready.unlink(missing_ok=True), probe=probe, limits=limits
    )
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert process.state is State.STOPPED


WAIT = "Path(os.environ['READY']).write_text(str(os.getpid()))\nsignal.pause()"
IGNORING = f"signal.signal(15, signal.SIG_IGN)\n{WAIT}"


def pid_of(folder: Path) -> int:
    return int((folder / "ready").read_text())


async def test_it_is_ready_when_the_probe_says_so_and_gone_when_stopped(tmp_path: Path) -> None:
    async with kept_up(tmp_path, WAIT) as process:
        await process.ensure_ready(5)
        assert process.state is State.READY
        pid = pid_of(tmp_path)
        assert alive(pid)
    assert not alive(pid)


async def test_it_is_restarted_when_killed(tmp_path: Path) -> None:
    async with kept_up(tmp_path, WAIT) as process:
        await process.ensure_ready(5)
        first = pid_of(tmp_path)
        os.kill(first, 9)
        await process.unready(5)
        assert process.state is not State.READY
        await process.ensure_ready(5)
        assert pid_of(tmp_path) != first
        assert (process.starts, process.failures) == (2, 1)


async def test_it_is_killed_with_its_group_where_it_ignores_sigterm(tmp_path: Path) -> None:
    script = "signal.signal(15, signal.SIG_IGN)\nif os.fork() == 0: Path('child').write_text(str(os.getpid()))\n" + WAIT
    script = script.replace("'child'", repr(str(tmp_path / "child")))
    async with kept_up(tmp_path, script) as process:
        await process.ensure_ready(5)
        await until(lambda: (tmp_path / "child").exists())
        child = int((tmp_path / "child").read_text())
    await until(lambda: not alive(pid_of(tmp_path)) and not alive(child))


async def test_one_that_is_halted_has_no_grace_and_is_not_started_again(tmp_path: Path) -> None:
    async with kept_up(tmp_path, IGNORING, replace(QUICK, grace_s=600)) as process:
        await process.ensure_ready(5)
        process.halt()
        await until(lambda: process.pid is None)
        with pytest.raises(NotReady):
            await process.ensure_ready(30)
        assert process.starts == 1


async def test_one_that_has_its_grace_already_is_halted_all_the_same(tmp_path: Path) -> None:
    async def halt(process: Process) -> None:
        while process.state is not State.STOPPING:
            await process.changed()
        process.halt()

    async with kept_up(tmp_path, IGNORING, replace(QUICK, grace_s=600)) as process:
        await process.ensure_ready(5)
        halting = asyncio.create_task(halt(process))
    await halting
    assert not alive(pid_of(tmp_path))


async def test_one_that_turns_probes_away_for_a_moment_is_not_stuck(tmp_path: Path) -> None:
    probed = Counter[bool]()
    async with kept_up(tmp_path, WAIT, replace(QUICK, doubt_s=30), probed) as process:
        await process.ensure_ready(5)
        (tmp_path / "ready").rename(tmp_path / "away")
        before = probed.copy()
        process.doubt()
        await until(lambda: probed[False] > before[False] + 2)
        (tmp_path / "away").rename(tmp_path / "ready")
        await until(lambda: probed[True] > before[True])
        assert (process.state, process.starts) == (State.READY, 1)


async def test_its_last_words_are_logged_when_it_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with kept_up(tmp_path, "print('bad flag: --x', file=sys.stderr); sys.exit(7)") as process:
        await process.tried()
        assert process.state is State.BACKOFF
        assert "ended with status 7 while starting" in caplog.text
        assert "it wrote last:\n  | bad flag: --x" in caplog.text
        with pytest.raises(NotReady):
            await process.ensure_ready(0.01)


async def test_it_tells_how_long_it_is_until_the_next_start(tmp_path: Path) -> None:
    async with kept_up(tmp_path, "sys.exit(7)", replace(QUICK, backoff_first_s=100, backoff_most_s=100)) as process:
        assert process.pause_s == 0
        await process.tried()
        await until(lambda: process.state is State.BACKOFF)
        assert 50 < process.pause_s <= 125


async def test_a_start_without_end_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limits = ProcessLimits(start_s=0.2, grace_s=0.5, probe_every_s=0.01, backoff_first_s=10)
    async with kept_up(tmp_path, "signal.pause()", limits) as process:
        await process.tried()
        assert "was not ready within 0.2 s (start_s)" in caplog.text


async def test_pauses_between_starts_grow(tmp_path: Path) -> None:
    async with kept_up(tmp_path, "sys.exit(1)") as process:
        await until(lambda: process.failures >= 3)
    for process.failures, full in ((1, 0.02), (2, 0.04), (3, 0.08), (40, 0.1)):
        assert 0.75 * full <= process._pause() <= 1.25 * full


async def test_output_is_always_read_and_bounded(tmp_path: Path) -> None:
    lines = []
    tail = Tail(3, 10, lines.append)
    stream = asyncio.StreamReader()
    stream.feed_data(b"one\n\ntwo\nthree\n" + b"x" * 1_000_000 + b"\n\xff\nlast")
    stream.feed_eof()
    await tail.follow(stream)
    assert tail.last(9) == ["x" * 10, "\ufffd", "last"]
    assert lines == ["one", "two", "three", "x" * 10, "\ufffd", "last"]


async def test_output_goes_to_the_debug_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "waypost.engine.it")
    async with kept_up(tmp_path, "print('hello from the engine', flush=True)\n" + WAIT) as process:
        await process.ensure_ready(5)
        await until(lambda: "hello from the engine" in caplog.text)
