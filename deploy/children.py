"""A `waypost` command as a child of this process: its log in a file, gone when this process is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

_STOP_S = 45.0  # a node's own drain, and a little
_TAIL_LINES = 15


class ChildFailed(Exception):
    """A child that ended by itself; the text has the end of its log."""


class Child:
    """One command. `start`, then `check` or `wait`, then `stop`."""

    def __init__(self, name: str, words: tuple[str, ...], log: Path) -> None:
        self.name = name
        self.log = log
        self._words = words
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        pid = self._process.pid if self._process else None
        return f"<Child {self.name!r} pid={pid}>"

    async def start(self) -> None:
        """In a session of its own: Ctrl-C reaches this process alone, which then stops its children in order."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WAYPOST_")}
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "waypost", *self._words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises ChildFailed if the command has ended."""
        if self._process is not None and self._process.returncode is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            raise ChildFailed(f"{self.name} ended with status {self._process.returncode}; its log says:\n{tail}")

    async def wait(self) -> None:
        """Until the command ends."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, time to drain, SIGKILL."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
