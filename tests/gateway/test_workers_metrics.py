"""Metrics and health of several workers, whichever of them is asked: whole, and never less than before."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.metrics import Metrics
from gateway.workers.counts import added, lasting, part, text
from gateway.workers.rounds import Rounds
from gateway.workers.tally import Tally
from tests.gateway.crew import REQUESTS, connections, crew, kill, metrics, processes
from tests.gateway.held_node import Held, held_node
from tests.gateway.scene import CHAT, Operator, chat, new_scene
from tests.programs import Program, until
from tests.stack import Stack

CHATS = f"{REQUESTS}{{route=/v1/chat/completions,status=200}}"
TIMED = "waypost_gateway_request_seconds_count{route=/v1/chat/completions}"
IN_FLIGHT, SILENT = "waypost_gateway_in_flight", "waypost_gateway_workers_silent"


@pytest.fixture
async def node() -> AsyncIterator[Held]:
    async with held_node() as made:
        yield made


@pytest.fixture
async def scene(tmp_path: Path, node: Held) -> tuple[Stack, Operator]:
    stack, operator = new_scene(tmp_path)
    await operator.post(operator.sign(node.key, node.url, "m"))
    return stack, operator


async def test_whichever_worker_is_asked_the_answer_is_of_all(scene: tuple[Stack, Operator], node: Held) -> None:
    stack, _ = scene
    body = {**CHAT, "model": "m", "stream": True}
    async with crew(stack) as program, connections(stack, program) as clients, connections(stack, program) as others:
        for number, client in clients.items():
            for _ in range(3 * number):
                assert (await chat(client, stack, "m"))[0] == 200
        for client in others.values():
            seen = await metrics(client, stack)
            assert (seen[CHATS], seen[TIMED], seen["waypost_gateway_workers"], seen[SILENT]) == (9, 9, 2, 0)
            assert (seen["waypost_gateway_nodes_proven"], seen[IN_FLIGHT]) == (1, 0)
            assert seen[f"waypost_gateway_registry_up{{registry={stack.registry}}}"] == 1
            async with client.get(f"{stack.gateway_url}/health") as health:
                found = await health.json()
                assert (health.status, found["status"], found["proven"], found["nodes"]) == (200, "ready", 1, 1)
                assert found["registries"] == [{"url": stack.registry, "up": True, "missing": 0, "faults": 0}]
        async with (
            clients[1].post(f"{stack.base_url}/chat/completions", json=body),
            clients[2].post(f"{stack.base_url}/chat/completions", json=body),
        ):
            assert [(await metrics(client, stack))[IN_FLIGHT] for client in others.values()] == [2, 2]
            node.go_on.set()


async def test_totals_never_go_down_whoever_is_killed(scene: tuple[Stack, Operator]) -> None:
    stack, _ = scene
    async with crew(stack) as program, aiohttp.ClientSession() as session:
        last = await metrics(session, stack)
        for number in (1, 2, 1):
            async with connections(stack, program) as clients:
                for client in clients.values():
                    assert (await chat(client, stack, "m"))[0] == 200
                last = _not_less(await metrics(clients[3 - number], stack), last)
                lives = _lives(program, number)
                kill(processes(program)[number], signal.SIGKILL)
                last = _not_less(await metrics(clients[3 - number], stack), last)
            await until(lambda who=number, before=lives: _lives(program, who) > before)
        async with aiohttp.ClientSession() as anew:
            last = _not_less(await metrics(anew, stack), last)
        assert (last[CHATS], last["waypost_gateway_worker_restarts_total"]) == (6, 3)


def _lives(program: Program, number: int) -> int:
    """How often that worker has begun to serve."""
    return program.output().count(f"worker {number}: serving")


def _not_less(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    for name, value in before.items():
        if name.partition("{")[0].endswith(("_total", "_count", "_bucket", "_sum")):
            assert now[name] >= value, name
    return now


async def test_a_worker_that_hangs_is_left_out_and_counted(scene: tuple[Stack, Operator]) -> None:
    stack, _ = scene
    async with crew(stack) as program, connections(stack, program) as clients:
        for client in clients.values():
            assert (await chat(client, stack, "m"))[0] == 200
        assert (await metrics(clients[2], stack))[CHATS] == 2
        kill(processes(program)[1], signal.SIGSTOP)
        try:
            many = await asyncio.gather(*(metrics(clients[2], stack) for _ in range(5)))
        finally:
            kill(processes(program)[1], signal.SIGCONT)
        assert [(seen[SILENT], seen[CHATS]) for seen in many] == [(1, 2)] * 5
        assert (await metrics(clients[2], stack))[SILENT] == 0


async def test_who_asks_together_shares_a_round_that_began_after_the_asking() -> None:
    begun, go_on = [], asyncio.Event()

    async def find() -> int:
        begun.append(len(begun))
        await go_on.wait()
        return begun[-1]

    rounds = Rounds(find)
    first = asyncio.create_task(rounds.ask())
    await until(lambda: len(begun) == 1)
    later = [asyncio.create_task(rounds.ask()) for _ in range(10)]
    later[0].cancel()
    go_on.set()
    assert await first == 0
    assert await asyncio.gather(*later[1:]) == [1] * 9
    assert begun == [0, 1]
    await rounds.close()


def test_counts_add_up_and_gauges_of_the_dead_do_not() -> None:
    parts = []
    for turns in (1, 2):
        counted = Metrics()
        counted.gauge("in_flight", "Running.", lambda: 5.0)
        for _ in range(turns):
            counted.observe("/v1/models", "", 200, 0.02)
        parts.append(part(counted.collect()))
    assert b'requests_total{route="/v1/models",status="200"} 3.0' in text(added(parts))
    assert b'seconds_bucket{le="0.05",route="/v1/models"} 3.0' in text(added(parts))
    assert b"in_flight 10.0" in text(added(parts))
    assert b"in_flight 5.0" in text(added((parts[0], lasting(parts[1]))))
    tally = Tally()
    tally.heard(1, parts[1])
    tally.restarted(1)
    tally.heard(1, parts[0])
    said = text(tally.whole([], (1, 2), (1,)))
    assert b'requests_total{route="/v1/models",status="200"} 3.0' in said and b"in_flight 5.0" in said
    assert b"workers 2.0" in said and b"silent 1.0" in said and b'worker_requests_total{worker="1"} 3.0' in said
