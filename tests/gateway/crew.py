"""A gateway of several workers as its users start it, and which of them answered whom, by the log."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.programs import Program, until
from tests.stack import Stack, serve_gateway

REQUESTS = "waypost_gateway_requests_total"
_TRIES = 200  # connections until every worker has had one: the kernel spreads them at random


@asynccontextmanager
async def crew(
    stack: Stack, *options: str, size: int = 2, proven: int = 1, access: str = "--open", trust: str = ""
) -> AsyncIterator[Program]:
    """The gateway, all of whose workers serve."""
    words = (*((access,) if access else ()), "--workers", str(size), *options)
    async with serve_gateway(stack, words, proven=proven, trust=trust) as program:
        await program.saw(f"with {size} workers")
        yield program


def processes(program: Program) -> dict[int, int]:
    """The process of each worker, the newest where there were several."""
    found = re.findall(r"worker (\d+) is process (\d+)", program.output())
    return {int(number): int(pid) for number, pid in found}


def alive(pid: int) -> bool:
    """Is there such a process, and no mere zombie?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def ended(*pids: int, limit_s: float = 60.0) -> None:
    """Wait until none of these processes is there any more."""
    await until(
        lambda: not any(map(alive, pids)), lambda: f"the end of {[p for p in pids if alive(p)]}", limit_s=limit_s
    )


def worker_of(program: Program, request_id: str) -> int | None:
    """Which worker logged that request."""
    found = re.search(rf"worker (\d+): {re.escape(request_id)} ", program.output())
    return int(found[1]) if found else None


@asynccontextmanager
async def connections(stack: Stack, program: Program, size: int = 2) -> AsyncIterator[dict[int, aiohttp.ClientSession]]:
    """A client of each worker, which keeps to its one connection. The program logs each request."""
    async with AsyncExitStack() as exits:
        found: dict[int, aiohttp.ClientSession] = {}
        for _ in range(_TRIES):
            connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=600)
            session = await exits.enter_async_context(aiohttp.ClientSession(connector=connector))
            number = await answered_by(session, stack, program)
            if number in found:
                await session.close()
            found.setdefault(number, session)
            if len(found) == size:
                yield found
                return
        raise AssertionError(f"only {sorted(found)} of {size} workers were met in {_TRIES} connections")


async def answered_by(session: aiohttp.ClientSession, stack: Stack, program: Program) -> int:
    """Which worker is at the other end of this client's connection."""
    request_id = f"probe-{uuid.uuid4().hex}"
    async with session.get(f"{stack.gateway_url}/v1/models", headers={"X-Request-Id": request_id}) as response:
        await response.read()
    await until(lambda: worker_of(program, request_id) is not None, lambda: f"{request_id} in the log")
    number = worker_of(program, request_id)
    assert number is not None
    return number


async def metrics(session: aiohttp.ClientSession, stack: Stack) -> dict[str, float]:
    """Every sample by its name and labels, as `name{label=value,...}`."""
    async with session.get(f"{stack.gateway_url}/metrics") as response:
        assert response.status == 200, await response.text()
        families = list(text_string_to_metric_families(await response.text()))
    samples = [sample for family in families for sample in family.samples]
    named = {_name(sample.name, sample.labels): sample.value for sample in samples}
    assert len(named) == len(samples), "a sample stands there twice"
    return named


def _name(name: str, labels: dict[str, str]) -> str:
    inner = ",".join(f"{label}={value}" for label, value in labels.items())
    return f"{name}{{{inner}}}" if inner else name


def kill(pid: int, number: int) -> None:
    """Send a signal to a process of the gateway under test."""
    os.kill(pid, number)
