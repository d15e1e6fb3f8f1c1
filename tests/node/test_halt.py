"""A node that is told to stop does: whatever a board, an engine or a file that is read makes it wait for."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import aiohttp

from registry.backend import open_backend
from tests.fakes.aleph import aleph_node
from tests.node.agent import Agent, agent, alive, options
from tests.node.test_drain import ENDED_S, MODEL, ended
from tests.node.test_publishing import Operator, delegate, published, put
from tests.programs import free_port, running, until

_POSTS = "POST /api/v0/messages"


async def test_an_advert_that_a_board_does_not_answer_for_does_not_keep_the_tombstone_from_it(
    tmp_path: Path, fake_llama: Path, small_gguf: Path
) -> None:
    operator = Operator(tmp_path)
    async with (
        aleph_node(tmp_path) as network,
        published(operator, fake_llama, small_gguf, registry=[network.registry], drain_s=0) as node,
    ):
        await node.program.saw("registry delegate")
        board = open_backend(network.registry, author=operator.wallet)
        await board.allow(delegate(operator))
        await board.close()
        put(operator, operator.delegation(delegate(operator)))
        await node.program.saw(": posted")
        (advert,) = await operator.adverts(network.registry)
        assert not advert.is_tombstone
        before = (await network.counts())["requests"][_POSTS]
        await network.control(answer="stall", answer_on="publish", answer_times=1)
        put(operator, operator.delegation(delegate(operator), life_s=7200))
        await network.reached(lambda counts: counts["requests"][_POSTS] > before)
        node.program.process.send_signal(signal.SIGTERM)
        assert await ended(node.program) == 0
        assert (await operator.adverts(network.registry))[-1].is_tombstone
        assert "retired on 1 of 1 registries" in node.program.output()


async def test_a_second_signal_ends_engines_too_that_are_ending_already(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    model = {"uri": str(small_gguf), "flags": ["--ignore-term"]}
    async with agent(tmp_path, {MODEL: model}, llama_server=str(fake_llama), log_level="info") as node:
        (engine,) = node.engines()
        node.program.process.send_signal(signal.SIGTERM)
        await _closed(session, node)
        assert alive(engine)  # it has its grace
        node.program.process.send_signal(signal.SIGTERM)
        await until(lambda: not alive(engine), 4)  # its grace is longer
        assert await ended(node.program) == 0


async def _closed(session: aiohttp.ClientSession, node: Agent) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        while True:
            async with session.get(f"{node.url}/health") as response:
                await response.read()


async def test_it_stops_while_weights_are_read_that_nobody_has_read_before(tmp_path: Path, small_gguf: Path) -> None:
    os.truncate(small_gguf, 2**40)  # a hole for the most part, and longer to read than anybody waits
    words = options(tmp_path, {MODEL: {"uri": str(small_gguf)}}, listen=f"127.0.0.1:{free_port()}")
    async with running(words, tmp_path / "log.txt") as program:
        file = str(small_gguf)
        await until(lambda: file in _opened(program.pid), limit_s=ENDED_S)
        program.process.send_signal(signal.SIGTERM)
        try:
            assert await ended(program) == 0
        except TimeoutError:
            program.process.kill()
            raise


def _opened(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(entry))
    return found
