"""Running the project's commands, and the tests' own programs, as the real processes that they are."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parent.parent
UP_LIMIT_S = 90.0
_LOWEST_PORT, _KERNELS_PORT = 10_000, 32_768  # Linux gives out those from the second on


class Program:
    """A process with its output in a file, in a process group of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    async def stop(self, sig: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        if self.process.returncode is None:
            self.process.send_signal(sig)
        try:
            return await asyncio.wait_for(self.process.wait(), 60)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise

    async def saw(self, text: str, since: int = 0, limit_s: float = UP_LIMIT_S) -> str:
        """Wait until the output has `text` behind position `since`; returns the output from there."""
        await until(
            lambda: text in self.output()[since:], lambda: f"{text!r} in:\n{self.output()[-4000:]}", limit_s=limit_s
        )
        return self.output()[since:]


async def until(
    good: Callable[[], bool], what: Callable[[], str] = lambda: "the condition", *, limit_s: float = UP_LIMIT_S
) -> float:
    """Poll a condition; returns how long it took (seconds). Fails the test if it never holds.

    The limit only keeps a test that hangs from hanging for ever: how fast a loaded machine is proves nothing.
    """
    started = time.monotonic()
    while not good():
        if time.monotonic() - started > limit_s:
            raise AssertionError(f"waited {limit_s} s in vain for {what()}")
        await asyncio.sleep(0.02)
    return time.monotonic() - started


@contextlib.asynccontextmanager
async def running(words: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """A Python program (`-m waypost ...` or a file of ours) for as long as the context lasts."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WAYPOST_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})}
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=out, stderr=out, env=environment, start_new_session=True, cwd=log.parent
        )
    program = Program(process, log)
    try:
        yield program
    finally:
        if process.returncode is None:
            await program.stop()


async def waypost(*words: str, cwd: Path, check: bool = True, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end; returns what it printed (standard output, then error)."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WAYPOST_")}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(cwd / "state"), **(env or {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "waypost", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=cwd,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    if check:
        assert process.returncode == 0, f"waypost {' '.join(words)}: {process.returncode}\n{out.decode()}{err.decode()}"
    return out.decode() + err.decode()


def free_port() -> int:
    """One that nobody listens on, nor will before this process has gone through thousands of others.

    The kernel gives none of these to connections and listeners that leave the choice to it, so whoever is to listen
    finds it free, and who finds it dead finds it so for long, though other tests run beside.
    """
    for port in _ports():
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")


@functools.cache
def _ports() -> Iterator[int]:
    """The ports below those that the kernel gives out, in turn; each process begins elsewhere."""
    ports = list(range(_LOWEST_PORT, _KERNELS_PORT))
    begin = random.SystemRandom().randrange(len(ports))
    return itertools.cycle(ports[begin:] + ports[:begin])


async def healthy(session: aiohttp.ClientSession, url: str, program: Program, good: Callable[[Any], bool]) -> Any:
    """Wait for `GET url` to answer 200 with a JSON body that is good; returns it."""
    deadline = time.monotonic() + UP_LIMIT_S
    last: object = None
    while time.monotonic() < deadline:
        assert program.process.returncode is None, f"it ended:\n{program.output()[-4000:]}"
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as response:
                last = await response.json()
                if response.status == 200 and good(last):
                    return last
        await asyncio.sleep(0.05)
    raise AssertionError(f"{url} never was as wanted; last {last}; log:\n{program.output()[-4000:]}")
