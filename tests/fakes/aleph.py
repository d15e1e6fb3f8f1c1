"""The fake Aleph node for the tests, as the program that it is."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.programs import UP_LIMIT_S, Program, running, until

CHANNEL = "WAYPOST"


class AlephNode:
    """A running fake: where it is, and its side door."""

    def __init__(self, url: str, program: Program, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.program = program
        self._session = session

    @property
    def registry(self) -> str:
        return f"aleph+{self.url}?channel={CHANNEL}"

    async def control(self, **settings: Any) -> dict[str, Any]:
        """Change the misbehaviour or act (tests/fakes/aleph_node/control.py); returns the counters."""
        async with self._session.post(f"{self.url}/_control", json=settings) as response:
            assert response.status == 200, await response.text()
            counts: dict[str, Any] = await response.json()
            return counts

    async def counts(self) -> dict[str, Any]:
        async with self._session.get(f"{self.url}/_control") as response:
            counts: dict[str, Any] = await response.json()
            return counts

    async def reached(self, good: Callable[[dict[str, Any]], bool], limit_s: float = UP_LIMIT_S) -> dict[str, Any]:
        """Wait until the counters are good; returns them."""
        return await _reached(self.counts, good, limit_s)


@contextlib.asynccontextmanager
async def aleph_node(folder: Path, *options: str, name: str = "") -> AsyncIterator[AlephNode]:
    """A fake node with its database and its log in `folder`; the same `name` continues where it ended."""
    name = name or f"aleph-{next(n for n in itertools.count(1) if not (folder / f'aleph-{n}.log').exists())}"
    log = folder / f"{name}.log"
    before = log.stat().st_size if log.exists() else 0
    words = ["-m", "tests.fakes.aleph_node", "--db", str(folder / f"{name}.db"), *options]
    async with running(words, log) as program, aiohttp.ClientSession() as session:
        await until(
            lambda: _lines(program, before) >= 2 or _ended(program), lambda: f"{name} to start", limit_s=UP_LIMIT_S
        )
        assert not _ended(program), program.output()
        yield AlephNode(program.output()[before:].splitlines()[0], program, session)


def _lines(program: Program, since: int) -> int:
    return program.output()[since:].count("\n")


def _ended(program: Program) -> bool:
    return program.process.returncode is not None


async def _reached(
    ask: Callable[[], Awaitable[dict[str, Any]]], good: Callable[[dict[str, Any]], bool], limit_s: float
) -> dict[str, Any]:
    async with asyncio.timeout(limit_s):
        while not good(counts := await ask()):  # noqa: ASYNC110 (what is awaited is in another process)
            await asyncio.sleep(0.02)
    return counts
