"""One child process and its whole life: started, probed until ready, restarted when it ends, stopped with its group.

`run` is the one owner: it alone changes the state. Not here: which program it is, and how one asks whether
it is ready (engines).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from node.life import Life, State
from node.tail import Tail

_SHOWN_LINES = 20
_PROBES = 30  # of one that is doubted, where each fails at once
# The child dies with this process, however that ends. The signal is asked for after the fork, so the script makes sure
# that the parent was still there by then. It fires when the *thread* that forked ends: `run` belongs on the main one.
_GUARD = '[ "$PPID" = "$1" ] || exit 75; shift; exec "$@"'


@dataclass(frozen=True)
class ProcessLimits:
    """Times in seconds; `lines` and `width` bound what is kept of the output."""

    start_s: float = 600.0
    grace_s: float = 5.0
    probe_every_s: float = 0.05
    doubt_s: float = 15.0  # one that is doubted has that long to answer a probe
    backoff_first_s: float = 0.25
    backoff_most_s: float = 60.0
    stable_s: float = 60.0  # after this long in READY, the next failure counts as the first
    lines: int = 400
    width: int = 4000


class Process(Life):
    """Runs `command` again and again. `prepare` is called before each start, `probe` says whether it is ready.

    `hopeless` is shown what a start wrote that failed, until one has not, and says why another one would fail too.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        prepare: Callable[[], None],
        probe: Callable[[], Awaitable[bool]],
        limits: ProcessLimits,
        hopeless: Callable[[Sequence[str]], str | None] = lambda _: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(on_change)
        self._name = name
        self._command = command
        self._environment = dict(environment)
        self._prepare = prepare
        self._probe = probe
        self._limits = limits
        self._hopeless = hopeless
        self._log = logging.getLogger(f"waypost.engine.{name}")
        self._tail = Tail(limits.lines, limits.width, lambda line: self._log.debug("%s", line))
        self._child: asyncio.subprocess.Process | None = None
        self._was_ready = False
        self._doubted = asyncio.Event()
        self._halted = False
        self._next_start = 0.0

    def __repr__(self) -> str:
        return f"<Process {self._name} {self.state.value} pid={self.pid} starts={self.starts} failures={self.failures}>"

    @property
    def pid(self) -> int | None:
        """Of the child, which leads its group; None while there is none."""
        return self._child.pid if self._child else None

    @property
    def pause_s(self) -> float:
        return max(0.0, self._next_start - time.monotonic()) if self.state is State.BACKOFF else 0.0

    async def run(self) -> None:
        """Keep the process up until cancelled, or until it is hopeless; it is gone when this returns."""
        try:
            while True:
                ended = self.ended = await self._live()
                self.failures += 1
                if self._halted:
                    self._enter(State.STOPPING)
                    await asyncio.Event().wait()
                if not self._was_ready:
                    self.failure = self._hopeless(self._tail.last(self._limits.lines))
                if self.failure is not None:
                    return
                pause = self._pause()
                self._log.error("%s %s; next start in %.1f s%s", self._name, ended, pause, self._last_words())
                self._next_start = time.monotonic() + pause
                self._enter(State.BACKOFF)
                await asyncio.sleep(pause)
        finally:
            self._enter(State.STOPPED if self.failure is None else State.FAILED)

    def doubt(self) -> None:
        """It is probed, and ended if it does not answer: one that is stopped, or stuck, would stay READY for ever."""
        self._doubted.set()

    def kill(self) -> None:
        """Kill the group without grace."""
        if self._child is not None:
            self._signal(self._child, signal.SIGKILL)

    def halt(self) -> None:
        self._halted = True
        self.kill()

    async def _live(self) -> str:
        """One life; returns how it ended."""
        self._enter(State.STARTING)
        self.starts += 1
        try:
            self._prepare()
            child = await self._spawn()
        except OSError as error:
            return f"could not be started ({error})"
        self._child = child
        assert child.stdout is not None
        reading = asyncio.create_task(self._tail.follow(child.stdout))
        try:
            return await self._watch(child)
        except asyncio.CancelledError:
            self._enter(State.STOPPING)
            raise
        finally:
            try:
                await _whole(asyncio.create_task(self._end(child, reading)))
            finally:
                self._child = None

    async def _spawn(self) -> asyncio.subprocess.Process:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise OSError("setpriv is missing; install util-linux")
        guarded = (setpriv, "--pdeathsig", "KILL", "--", "/bin/sh", "-c", _GUARD, "sh", str(os.getpid()))
        return await asyncio.create_subprocess_exec(
            *guarded,
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env=self._environment,
        )

    async def _watch(self, child: asyncio.subprocess.Process) -> str:
        exit_seen = asyncio.create_task(child.wait())
        probing = asyncio.create_task(self._until_ready())
        try:
            await asyncio.wait((exit_seen, probing), timeout=self._limits.start_s, return_when=asyncio.FIRST_COMPLETED)
            if exit_seen.done():
                return f"{_ending(exit_seen.result())} while starting"
            if not probing.done():
                return f"was not ready within {self._limits.start_s:g} s (start_s)"
            probing.result()
            return await self._serve(exit_seen)
        finally:
            for task in (exit_seen, probing):
                task.cancel()

    async def _until_ready(self) -> None:
        while not await self._probe():  # noqa: ASYNC110 - another process: there is nothing to await
            await asyncio.sleep(self._limits.probe_every_s)

    async def _serve(self, exit_seen: asyncio.Task[int]) -> str:
        since = time.monotonic()
        self._was_ready = True
        self._enter(State.READY)
        if await self._is_stuck(exit_seen):
            self.killed = True
            return "did not answer any more"
        code = exit_seen.result()
        self.killed = -code in (signal.SIGKILL, signal.SIGTERM)
        if time.monotonic() - since >= self._limits.stable_s:
            self.failures = 0
        return _ending(code)

    async def _is_stuck(self, exit_seen: asyncio.Task[int]) -> bool:
        """Return once it has ended, or is doubted and answers no probe for too long."""
        while not exit_seen.done():
            doubted = asyncio.create_task(self._doubted.wait())
            try:
                await asyncio.wait((exit_seen, doubted), return_when=asyncio.FIRST_COMPLETED)
            finally:
                doubted.cancel()
            self._doubted.clear()
            if not exit_seen.done() and not await self._answers(exit_seen):
                return not exit_seen.done()
        return False

    async def _answers(self, exit_seen: asyncio.Task[int]) -> bool:
        """A probe that fails at once says little: a busy process may turn connections away for a moment."""
        limits, until = self._limits, time.monotonic() + self._limits.doubt_s
        while not exit_seen.done():
            if await self._probe():
                return True
            if time.monotonic() >= until:
                return False
            await asyncio.wait((exit_seen,), timeout=limits.doubt_s / _PROBES)
        return False

    async def _end(self, child: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
        """Terminate the group, kill what is left of it after the grace, and reap."""
        if child.returncode is None and not self._halted:
            self._signal(child, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.grace_s):
                    await child.wait()
        self._signal(child, signal.SIGKILL)
        await child.wait()
        await asyncio.wait((reading,), timeout=1.0)
        reading.cancel()

    def _signal(self, child: asyncio.subprocess.Process, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)

    def _pause(self) -> float:
        """Exponential, with jitter so that several do not start in step."""
        full: float = min(self._limits.backoff_first_s * 2.0 ** min(self.failures - 1, 30), self._limits.backoff_most_s)
        return full * (0.75 + random.random() / 2)  # noqa: S311 - not a secret

    def _last_words(self) -> str:
        lines = self._tail.last(_SHOWN_LINES)
        return "\n  | ".join(["; it wrote last:", *lines]) if lines else "; it wrote nothing"


async def _whole(task: asyncio.Task[None]) -> None:
    """Wait until it is done, even where the caller is cancelled: else what it ends would be left half ended."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def _ending(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"ended with status {code}"
    with contextlib.suppress(ValueError):
        hint = ": this build needs a CPU that this is not" if -code == signal.SIGILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"
    return f"was ended by signal {-code}"
