"""What an engine is at, whoever keeps it up: a child process of this node (process), or a server elsewhere (external).

One owner alone changes the state. Others ask `ensure_ready`, and never look first and act then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import Enum


class State(Enum):
    """BACKOFF waits before the next start, FAILED is not started again."""

    NEW = "new"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


_OVER = (State.STOPPING, State.STOPPED, State.FAILED)


class NotReady(Exception):
    """The engine did not become ready in the time that the caller had."""

    def __init__(self, state: State) -> None:
        super().__init__(f"the engine is {state.value}")
        self.state = state


class Life:
    """State and counters. `on_change` is called at each change of the state."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
        self._changed = asyncio.Event()
        self.state = State.NEW
        self.starts = 0
        self.failures = 0  # in a row
        self.killed = False  # its last life was ended from outside
        self.ended: str | None = None  # how its last life ended, in words
        self.failure: str | None = None  # why it is FAILED

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value} starts={self.starts} failures={self.failures}>"

    @property
    def pause_s(self) -> float:
        """How long it is until it is started again, where it has ended."""
        return 0.0

    async def ensure_ready(self, limit_s: float) -> None:
        """Return once it is ready. Raises NotReady after `limit_s`, or at once where it never will be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self.state is not State.READY and self.state not in _OVER:
                    await self._changed.wait()
        if self.state is not State.READY:
            raise NotReady(self.state)

    async def ready(self) -> None:
        """Return once it is ready, however long that takes."""
        while self.state is not State.READY:
            await self._changed.wait()

    async def changed(self) -> None:
        """Return when its state is another."""
        await self._changed.wait()

    @property
    def over(self) -> bool:
        """It will not be ready, unless it is begun anew."""
        return self.state in _OVER

    def renew(self) -> None:
        """Before a further run: what became of the last one counts no more. For its owner."""
        self.failures, self.failure, self.ended, self.killed = 0, None, None, False
        self._enter(State.NEW)

    def give_up(self, why: str) -> None:
        """It is not to be started again. For the owner of its runs."""
        self.failure = why
        self._enter(State.FAILED)

    async def unready(self, limit_s: float) -> None:
        """Return once it is seen not to be ready, or after `limit_s`: for callers who could not reach it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self.state is State.READY:
                    await self._changed.wait()

    async def tried(self) -> None:
        """Return once it is ready, or has failed for the first time."""
        while self.state is not State.READY and self.failures == 0:
            await self._changed.wait()

    def doubt(self) -> None:
        """It was silent for too long: whoever keeps it up may want to look whether it answers at all."""

    def kill(self) -> None:
        """End it without grace, where it is ours to end."""

    def halt(self) -> None:
        """The same, for good: nothing is started any more, and what is ending already is given no more time."""

    def _enter(self, state: State) -> None:
        self.state = state
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._on_change()
