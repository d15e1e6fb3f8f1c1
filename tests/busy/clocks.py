"""Clocks of single processes, which a test sets as it likes while they run: libfaketime, read anew each time.

What a process measures by (its monotonic clock) goes on as it is. Not here: what that should do to anybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.killing.host import MODEL, Host
from tests.programs import healthy, running

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@dataclass
class Clock:
    """`ahead_s` of the machine's."""

    file: Path
    ahead_s: int = 0

    def set(self, ahead_s: int) -> None:
        """Seen by its processes at once."""
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{ahead_s:+d}\n")
        draft.replace(self.file)
        self.ahead_s = ahead_s

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that goes by this clock."""
        assert LIBRARY is not None
        if not self.file.exists():
            self.set(self.ahead_s)
        return {
            "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip


@contextlib.asynccontextmanager
async def serving(host: Host, clock: Clock) -> AsyncIterator[None]:
    """That node, with its model loaded, by that clock."""
    command = ("-m", "waypost", "node", "serve", "--config", str(host.folder / "waypost.toml"))
    async with (
        running(command, host.folder / "log.txt", clock.environment) as host.program,
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{host.port}/health"
        await healthy(session, url, host.program, lambda health: health["models"][MODEL]["state"] == "ready")
        yield
