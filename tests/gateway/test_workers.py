"""Several workers on one port: each serves, one that dies is replaced while the others go on, and all end together."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.commands import run
from tests.gateway.crew import alive, answered_by, connections, crew, ended, kill, metrics, processes
from tests.gateway.held_node import Held, held_node
from tests.gateway.scene import CHAT, Operator, becomes, chat, new_scene
from tests.programs import running, until
from tests.stack import Stack, serve_gateway

STREAM = {**CHAT, "model": "m", "stream": True}


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    async with held_node() as made:
        yield made


@pytest.fixture
async def scene(tmp_path: Path, node: Held) -> tuple[Stack, Operator]:
    """A registry that has the node's advert of `m`."""
    stack, operator = new_scene(tmp_path)
    await operator.post(operator.sign(node.key, node.url, "m"))
    return stack, operator


def _is_whole(stream: bytes) -> bool:
    return b"first" in stream and stream.endswith(b"data: [DONE]\n\n")


async def test_a_killed_worker_takes_its_own_streams_along_and_is_replaced(
    scene: tuple[Stack, Operator], node: Held
) -> None:
    stack, _ = scene
    async with crew(stack) as program, connections(stack, program) as clients:
        before, url = processes(program), f"{stack.base_url}/chat/completions"
        assert set(before) == set(clients) == {1, 2}
        async with clients[1].post(url, json=STREAM) as lost, clients[2].post(url, json=STREAM) as kept:
            assert b"first" in await lost.content.readuntil(b"\n\n")
            first = await kept.content.readuntil(b"\n\n")
            kill(before[1], signal.SIGKILL)
            with pytest.raises(aiohttp.ClientError):
                await lost.read()
            await _all_answered(stack, 20)
            node.go_on.set()
            assert _is_whole(first + await kept.read())
        assert (await chat(clients[2], stack, "m"))[0] == 200
        await until(lambda: program.output().count("worker 1: serving") == 2)
        after = processes(program)
        assert (after[2], alive(after[1])) == (before[2], True) and after[1] != before[1]
        async with connections(stack, program) as anew:
            assert (await chat(anew[1], stack, "m"))[0] == 200
    assert not alive(before[1])
    assert "Traceback" not in program.output()


async def _all_answered(stack: Stack, count: int, status: int = 200) -> None:
    """New clients come to those workers that are there."""
    for _ in range(count):
        async with aiohttp.ClientSession() as session:
            assert (await chat(session, stack, "m"))[0] == status


async def test_workers_end_when_their_parent_is_killed(scene: tuple[Stack, Operator]) -> None:
    stack, _ = scene
    async with crew(stack) as program:
        workers = processes(program).values()
        await program.stop(signal.SIGKILL)
        await ended(*workers)
    async with serve_gateway(stack, ("--open",), proven=1):
        pass  # the port is free again


async def test_a_worker_ends_when_its_parent_dies_in_the_midst_of_a_stream(
    scene: tuple[Stack, Operator], session: aiohttp.ClientSession
) -> None:
    stack, _ = scene
    async with crew(stack) as program:
        workers = processes(program).values()
        async with session.post(f"{stack.base_url}/chat/completions", json=STREAM) as response:
            assert b"first" in await response.content.readuntil(b"\n\n")
            await program.stop(signal.SIGKILL)
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        await ended(*workers)


async def test_the_first_signal_lets_streams_of_every_worker_end(scene: tuple[Stack, Operator], node: Held) -> None:
    stack, _ = scene
    async with crew(stack) as program, connections(stack, program) as clients, AsyncExitStack() as streams:
        workers, url = processes(program), f"{stack.base_url}/chat/completions"
        running = [await streams.enter_async_context(client.post(url, json=STREAM)) for client in clients.values()]
        firsts = [await stream.content.readuntil(b"\n\n") for stream in running]
        for pid in (*workers.values(), program.pid):  # as a service manager does it
            kill(pid, signal.SIGTERM)
        async with aiohttp.ClientSession() as other:
            await becomes(other, stack, "m", 503)
            refusal = (await chat(other, stack, "m"))[2]
            assert refusal["error"]["code"] == "draining"
            async with other.get(f"{stack.gateway_url}/health") as health:
                assert (health.status, (await health.json())["status"]) == (503, "draining")
        node.go_on.set()
        for first, stream in zip(firsts, running, strict=True):
            assert _is_whole(first + await stream.read())
        assert await asyncio.wait_for(program.process.wait(), 60) == 0
        await ended(*workers.values())
    assert "Traceback" not in program.output()


async def test_a_second_signal_stops_all_at_once(scene: tuple[Stack, Operator], session: aiohttp.ClientSession) -> None:
    stack, _ = scene
    async with crew(stack, "--drain-s", "3000") as program:
        workers = processes(program).values()
        async with session.post(f"{stack.base_url}/chat/completions", json=STREAM) as response:
            assert b"first" in await response.content.readuntil(b"\n\n")
            kill(program.pid, signal.SIGINT)
            async with aiohttp.ClientSession() as other:
                await becomes(other, stack, "m", 503)
            await _all_answered(stack, 20, 503)  # by the idle worker too, for as long as the other one drains
            kill(program.pid, signal.SIGINT)
            with pytest.raises(aiohttp.ClientError):
                await response.read()
            assert await asyncio.wait_for(program.process.wait(), 60) == 0
        await ended(*workers)
    assert "Traceback" not in program.output()


async def test_an_end_in_the_midst_of_the_start(scene: tuple[Stack, Operator]) -> None:
    stack, _ = scene
    words = ("--listen", "127.0.0.1:0", "--registry", stack.registry, "--trust", "any", "--state", str(stack.folder))
    async with running(
        ("-m", "waypost", "gateway", "serve", *words, "--workers", "3"), stack.folder / "g.txt"
    ) as program:
        await program.saw("worker 3 is process")
        workers = processes(program).values()
        assert await program.stop() == 0
        await ended(*workers)
    assert "Traceback" not in program.output()


async def test_a_port_of_the_kernels_choice_is_one_port(tmp_path: Path) -> None:
    stack, _ = new_scene(tmp_path)
    words = ("--listen", "127.0.0.1:0", "--registry", stack.registry, "--trust", "any", "--state", str(tmp_path))
    async with running(("-m", "waypost", "gateway", "serve", *words, "--workers", "2"), tmp_path / "g.txt") as program:
        said = await program.saw("with 2 workers")
        stack.gateway_url = said.rpartition("serves on ")[2].partition("/v1")[0]
        assert not stack.gateway_url.endswith(":0")
        async with connections(stack, program):
            pass


async def test_workers_run_our_modules_wherever_the_gateway_is_started(tmp_path: Path) -> None:
    for name in ("gateway", "relay", "registry", "asyncio"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('this is another {name}')")
    words = ["--listen", "127.0.0.1:0", "--registry", f"sqlite:///{tmp_path}/r.db", "--trust", "any", "--workers", "2"]
    code = f"import sys, waypost; sys.exit(waypost.main({['gateway', 'serve', *words, '--state', str(tmp_path)]}))"
    async with running(("-P", "-c", code), tmp_path / "g.txt") as program:
        await program.saw("with 2 workers")
    assert "this is another" not in program.output()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_that_is_taken_is_told_of_in_one_line(tmp_path: Path, workers: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        words = ("--listen", listen, "--registry", f"sqlite:///{tmp_path}/r.db", "--trust", "any", "--workers", workers)
        done = await asyncio.to_thread(run, tmp_path, "gateway", "serve", *words)
    told = [line for line in done.err.splitlines() if line.startswith("waypost:")]
    assert (done.status, told) == (
        1, [f"waypost: cannot listen on {listen}: Address already in use; choose another --listen"]
    )  # fmt: skip
    assert "Traceback" not in done.err


async def test_another_gateway_cannot_slip_in_beside_the_workers_of_one(scene: tuple[Stack, Operator]) -> None:
    stack, _ = scene
    async with crew(stack):
        listen = stack.gateway_url.removeprefix("http://")
        words = ("--listen", listen, "--registry", stack.registry, "--trust", "any", "--workers", "2")
        done = await asyncio.to_thread(run, stack.folder, "gateway", "serve", *words)
        assert done.status == 1
        assert f"cannot listen on {listen}: Address already in use" in done.err


@pytest.mark.parametrize("workers", ["0", "-1", "65", "two", "1.5"])
def test_a_number_of_workers_that_cannot_be_is_told_of(tmp_path: Path, workers: str) -> None:
    words = ("--registry", f"sqlite:///{tmp_path}/r.db", "--trust", "any", f"--workers={workers}")
    done = run(tmp_path, "gateway", "serve", *words)
    assert done.status == 2
    assert done.err.startswith("waypost: --workers") and len(done.err.splitlines()) == 1


async def test_api_keys_that_cannot_be_read_are_told_of_once(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    words = ("--registry", f"sqlite:///{tmp_path}/r.db", "--trust", "any", "--listen", "127.0.0.1:0", "--workers", "2")
    done = await asyncio.to_thread(run, tmp_path, "gateway", "serve", *words, "--api-keys", "keys.json")
    assert done.status == 1
    assert "is not a file of waypost gateway key new" in done.err and "worker" not in done.err


async def test_a_worker_that_cannot_start_is_tried_again_while_the_others_serve(
    tmp_path: Path, node: Held, session: aiohttp.ClientSession
) -> None:
    stack, operator = new_scene(tmp_path)
    await operator.post(operator.sign(node.key, node.url, "m"))
    made = await asyncio.to_thread(run, tmp_path, "gateway", "key", "new", "alice", "--api-keys", "keys.json")
    session.headers["Authorization"] = f"Bearer {made.out.strip()}"
    good = (tmp_path / "keys.json").read_text()
    async with crew(stack, "--api-keys", "keys.json", access="") as program:
        await becomes(session, stack, "m", 200)
        (tmp_path / "keys.json").write_text("{")
        kill(processes(program)[1], signal.SIGKILL)
        await program.saw("started again in 0.8 s")
        assert "worker 1: --api-keys keys.json is not a file" in program.output()
        for _ in range(10):
            async with aiohttp.ClientSession(headers=session.headers) as other:
                assert (await chat(other, stack, "m"))[0] == 200
        (tmp_path / "keys.json").write_text(good)
        await until(lambda: program.output().count("worker 1: serving") == 2)
        (tmp_path / "keys.json").write_text("[]")
        for _ in range(10):
            async with aiohttp.ClientSession(headers=session.headers) as other:
                assert (await chat(other, stack, "m"))[0] == 401


async def test_every_worker_logs_and_counts_by_its_number(
    scene: tuple[Stack, Operator], session: aiohttp.ClientSession
) -> None:
    stack, _ = scene
    async with crew(stack, size=3) as program, connections(stack, program, 3) as clients:
        before = await metrics(session, stack)
        for number, client in clients.items():
            for _ in range(number):
                assert await answered_by(client, stack, program) == number
        after = await metrics(session, stack)
        for number in (1, 2, 3):
            name = f"waypost_gateway_worker_requests_total{{worker={number}}}"
            assert after[name] - before[name] in (number, number + 1), "and one that asked for the metrics"
