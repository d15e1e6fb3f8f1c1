"""A gateway that gives notice of its end: its health says so at once, requests are taken until the notice is over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.running import Running
from relay.errors import Unavailable
from tests.gateway.crew import connections, ended, kill, processes
from tests.gateway.held_node import Held, held_node
from tests.gateway.scene import CHAT, becomes, chat, new_scene
from tests.programs import Program, until
from tests.stack import Stack, serve_gateway

Clients = list[aiohttp.ClientSession]
STREAM = {**CHAT, "model": "m", "stream": True}
_LONG = ("--notice-s", "3000", "--drain-s", "0")
_ASKED_S = 2.0  # longer than workers are given at an end that says nothing of a notice

by_workers = pytest.mark.parametrize("workers", [1, 2])


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    async with held_node() as made:
        yield made


@pytest.fixture
async def stack(tmp_path: Path, node: Held) -> Stack:
    """A registry that has the node's advert of `m`."""
    made, operator = new_scene(tmp_path)
    await operator.post(operator.sign(node.key, node.url, "m"))
    return made


@asynccontextmanager
async def _kept(stack: Stack, workers: int, *options: str) -> AsyncIterator[tuple[Program, Clients]]:
    """The gateway, and a client of each worker that has a connection there."""
    words = ("--open", "--workers", str(workers), *options)
    async with serve_gateway(stack, words, proven=1) as program, AsyncExitStack() as exits:
        if workers > 1:
            await program.saw(f"with {workers} workers")
            clients = [*(await exits.enter_async_context(connections(stack, program, workers))).values()]
        else:
            connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=600)
            clients = [await exits.enter_async_context(aiohttp.ClientSession(connector=connector))]
        for client in clients:
            assert (await chat(client, stack, "m"))[0] == 200
        yield program, clients


def _tell(program: Program) -> None:
    """As a service manager does it that signals all processes alike."""
    for pid in (*processes(program).values(), program.pid):
        kill(pid, signal.SIGTERM)


async def _health(session: aiohttp.ClientSession, stack: Stack) -> tuple[int, str]:
    async with session.get(f"{stack.gateway_url}/health") as health:
        return health.status, (await health.json())["status"]


async def _ends(session: aiohttp.ClientSession, stack: Stack) -> None:
    """Wait until the health that this client is told says so."""
    async with asyncio.timeout(90):
        while await _health(session, stack) != (503, "draining"):
            pass


@by_workers
async def test_requests_are_taken_on_kept_and_new_connections_and_a_second_signal_stops(
    stack: Stack, workers: int
) -> None:
    async with _kept(stack, workers, *_LONG) as (program, clients):
        url = f"{stack.base_url}/chat/completions"
        async with aiohttp.ClientSession() as other, other.post(url, json=STREAM) as running:
            assert b"first" in await running.content.readuntil(b"\n\n")
            _tell(program)
            for client in clients:
                await _ends(client, stack)
            until_s = time.monotonic() + _ASKED_S
            while time.monotonic() < until_s:
                for client in clients:
                    assert (await chat(client, stack, "m"))[0] == 200
                    assert await _health(client, stack) == (503, "draining")
                async with aiohttp.ClientSession() as new:
                    assert (await chat(new, stack, "m"))[0] == 200
            assert not running.content.at_eof()
            kill(program.pid, signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await running.read()
        assert await asyncio.wait_for(program.process.wait(), 60) == 0
        await ended(*processes(program).values())
    assert "taking requests for 3000 s more, then draining for at most 0 s" in program.output()
    assert "Traceback" not in program.output()


@by_workers
async def test_after_the_notice_nothing_new_is_taken_and_what_runs_ends(stack: Stack, workers: int, node: Held) -> None:
    async with _kept(stack, workers, "--notice-s", "0.5") as (program, clients), AsyncExitStack() as exits:
        url = f"{stack.base_url}/chat/completions"
        running = [await exits.enter_async_context(client.post(url, json=STREAM)) for client in clients]
        _tell(program)
        async with aiohttp.ClientSession() as other:
            await _ends(other, stack)
            await becomes(other, stack, "m", 503)
            assert (await chat(other, stack, "m"))[2]["error"]["code"] == "draining"
        node.go_on.set()
        for stream in running:
            assert (await stream.read()).endswith(b"data: [DONE]\n\n")
        assert await asyncio.wait_for(program.process.wait(), 60) == 0
    assert "Traceback" not in program.output()


@by_workers
async def test_an_idle_gateway_ends_by_itself_after_the_notice(stack: Stack, workers: int) -> None:
    async with _kept(stack, workers, "--notice-s", "0.1") as (program, clients):
        _tell(program)
        await until(lambda: program.process.returncode is not None)
        assert program.process.returncode == 0
        with pytest.raises(aiohttp.ClientError):
            await chat(clients[0], stack, "m")
    assert "Traceback" not in program.output()


async def test_what_is_taken_within_the_notice_is_waited_for() -> None:
    running = Running(notice_s=0.05)
    running.end()
    assert repr(running) == "<Running 0 ending>"
    draining = asyncio.create_task(running.drain(60))
    with running:
        await until(lambda: running.refusing)
        assert repr(running) == "<Running 1 refusing>"
        with pytest.raises(Unavailable), running:
            pass
        assert not draining.done()
    await draining


def test_without_notice_nothing_is_taken_from_the_signal_on() -> None:
    running = Running()
    running.end()
    assert running.ending
    with pytest.raises(Unavailable), running:
        pass
