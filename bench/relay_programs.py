"""Starting the programs that bench.relay measures, and ending each with all its children.

Not here: which programs, and how they are set up (relay_peers, relay_ours).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_STOP_S = 10.0


class NotToBeHad(Exception):
    """A target that cannot be measured here; the text says why, in a line."""


@dataclass(frozen=True)
class Program:
    """A running one. What it writes goes into `log`."""

    pid: int
    log: Path


@asynccontextmanager
async def program(
    words: Sequence[str | Path], folder: Path, port: int, *, env: Mapping[str, str] | None = None, up_s: float = 60.0
) -> AsyncIterator[Program]:
    """Until the context ends; yielded once something listens on the port. Raises NotToBeHad where it does not start."""
    log = folder / f"{Path(words[0]).name}-{port}.txt"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder,
            env={**os.environ, **(env or {})}, start_new_session=True,
        )  # fmt: skip
    try:
        await _listens(port, process, log, up_s)
        yield Program(process.pid, log)
    finally:
        await _ended(process)


async def _listens(port: int, process: asyncio.subprocess.Process, log: Path, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.returncode is None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise NotToBeHad(f"it does not start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"])[-1][:200]


async def _ended(process: asyncio.subprocess.Process) -> None:
    """The whole group: some leave children behind."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_S)
