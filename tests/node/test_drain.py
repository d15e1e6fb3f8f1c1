"""A node that is told to stop, whatever it is at: nothing that it let in is lost, and nothing holds it up for ever."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.node.agent import Agent, agent, alive, options
from tests.node.test_publishing import Operator, delegate, published, put
from tests.programs import Program, free_port, running, until

MODEL = "m"
ENDED_S = 40  # far longer than any of this takes


@contextlib.asynccontextmanager
async def silent_host() -> AsyncIterator[str]:
    """It takes connections, and never says a word."""
    gone = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        gone.set()
        server.close()


async def ended(program: Program) -> int:
    status = await asyncio.wait_for(program.process.wait(), ENDED_S)
    assert "Traceback" not in program.output()
    assert "never retrieved" not in program.output()
    return status


async def ask(session: aiohttp.ClientSession, url: str, content: str, **more: Any) -> aiohttp.ClientResponse:
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], **more}
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        await response.read()
    return response


async def code(response: aiohttp.ClientResponse) -> tuple[int, str]:
    return response.status, (await response.json())["error"]["code"]


async def reaches(session: aiohttp.ClientSession, node: Agent, **wanted: object) -> None:
    """Until `GET /health` says that of the model."""
    found: dict[str, object] = {}
    while any(found.get(name) != value for name, value in wanted.items()):
        assert node.program.process.returncode is None
        async with session.get(f"{node.url}/health") as response:
            found = (await response.json())["models"][MODEL]


async def told_to_stop(session: aiohttp.ClientSession, node: Agent) -> None:
    node.program.process.send_signal(signal.SIGTERM)
    status = ""
    while status != "draining":
        async with session.get(f"{node.url}/health") as response:
            status = (await response.json())["status"]
            if status == "draining":
                assert (response.status, response.headers["Connection"]) == (503, "close")


@contextlib.asynccontextmanager
async def one_slot(folder: Path, program: Path, gguf: Path, **changed: Any) -> AsyncIterator[Agent]:
    model = {"uri": str(gguf), "parallel": 1}
    async with agent(folder, {MODEL: model}, llama_server=str(program), queue_s=60, **changed) as made:
        yield made


async def test_who_waits_for_a_slot_is_served_and_who_is_new_is_sent_elsewhere(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    async with one_slot(tmp_path, fake_llama, small_gguf, drain_s=60) as node:
        running = asyncio.create_task(ask(session, node.url, "hold"))
        await reaches(session, node, in_flight=1)
        waiting = [asyncio.create_task(ask(session, node.url, "Hi.")) for _ in range(3)]
        await reaches(session, node, waiting=3)
        async with aiohttp.ClientSession() as kept, kept.get(f"{node.url}/v1/models") as listed:
            assert listed.status == 200 and "Connection" not in listed.headers
            await listed.read()
            await told_to_stop(session, node)
            for new in (kept, session):  # on a connection that was there, and on another one
                refused = await ask(new, node.url, "Hi.")
                assert await code(refused) == (503, "draining")
                assert refused.headers["Connection"] == "close"
                assert 1 <= int(refused.headers["Retry-After"]) <= 60 + ENDED_S
        assert not any(task.done() for task in waiting)
        running.cancel()
        answers = await asyncio.gather(*waiting)
        assert [answer.status for answer in answers] == [200] * 3
        assert {answer.headers.get("Connection") for answer in answers} == {"close"}
        assert await ended(node.program) == 0


async def test_who_still_waits_when_the_time_is_over_may_go_elsewhere(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    async with one_slot(tmp_path, fake_llama, small_gguf, drain_s=0.5) as node:
        running = asyncio.create_task(ask(session, node.url, "hold"))
        await reaches(session, node, in_flight=1)
        waiting = [asyncio.create_task(ask(session, node.url, "Hi.")) for _ in range(2)]
        await reaches(session, node, waiting=2)
        node.program.process.send_signal(signal.SIGTERM)
        for answer in await asyncio.gather(*waiting):
            assert await code(answer) == (503, "draining")
            assert int(answer.headers["Retry-After"]) >= 1
        with pytest.raises(aiohttp.ClientError):
            await running  # cut, and not made to look whole
        assert await ended(node.program) == 0


async def test_a_second_signal_sends_away_who_waits(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    async with one_slot(tmp_path, fake_llama, small_gguf, drain_s=600) as node:
        running = asyncio.create_task(ask(session, node.url, "hold"))
        await reaches(session, node, in_flight=1)
        waiting = asyncio.create_task(ask(session, node.url, "Hi."))
        await reaches(session, node, waiting=1)
        engines = node.engines()
        await told_to_stop(session, node)
        node.program.process.send_signal(signal.SIGTERM)
        assert await code(await waiting) == (503, "draining")
        await asyncio.gather(running, return_exceptions=True)
        assert await ended(node.program) == 0
        await until(lambda: not any(map(alive, engines)))


@pytest.mark.parametrize("signals", [1, 2])
async def test_it_stops_while_a_model_is_still_being_loaded(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession, signals: int
) -> None:
    model = {"uri": str(small_gguf), "flags": ["--late", "600"]}
    url = f"127.0.0.1:{free_port()}"
    words = options(tmp_path, {MODEL: model}, llama_server=str(fake_llama), listen=url, drain_s=600)
    async with running(words, tmp_path / "log.txt") as program:
        node = Agent(program, "", f"http://{url}")
        await _phase(session, node, "proving")
        await until(lambda: bool(node.engines()))
        engines = node.engines()
        for _ in range(signals):
            program.process.send_signal(signal.SIGTERM)
        assert await ended(program) == 0
        assert not any(map(alive, engines))


async def test_it_stops_while_weights_are_fetched(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    url = f"127.0.0.1:{free_port()}"
    async with silent_host() as host:
        model = {"uri": f"http://{host}/m.gguf"}
        async with running(options(tmp_path, {MODEL: model}, listen=url), tmp_path / "log.txt") as program:
            node = Agent(program, "", f"http://{url}")
            await _phase(session, node, "downloading")
            program.process.send_signal(signal.SIGTERM)
            assert await ended(program) == 0


async def _phase(session: aiohttp.ClientSession, node: Agent, wanted: str) -> None:
    found = None
    while found != wanted:
        assert node.program.process.returncode is None, node.program.output()
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"{node.url}/health") as response:
                found = (await response.json())["models"].get(MODEL, {}).get("phase")


async def test_a_registry_that_never_answers_holds_up_neither_the_others_nor_the_end(
    tmp_path: Path, fake_llama: Path, small_gguf: Path
) -> None:
    operator = Operator(tmp_path)
    async with silent_host() as host:
        registries = [f"aleph+http://{host}?channel=WAYPOST", operator.registry]
        async with published(operator, fake_llama, small_gguf, registry=registries, drain_s=0) as node:
            await node.program.saw("registry delegate")
            put(operator, operator.delegation(delegate(operator)))
            await operator.advert(1)
            node.program.process.send_signal(signal.SIGTERM)
            assert await ended(node.program) == 0
        assert (await operator.adverts())[-1].is_tombstone
        assert "a registry could not be told of the stop" in node.program.output()


async def test_a_tombstone_that_cannot_be_signed_cuts_nothing_short(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    operator = Operator(tmp_path)
    async with published(operator, fake_llama, small_gguf, drain_s=60) as node:
        await node.program.saw("registry delegate")
        put(operator, operator.delegation(delegate(operator)))
        await operator.advert(1)
        for file in (tmp_path / "state").glob("seq-*"):
            file.unlink()
            file.mkdir()  # it cannot be written any more
        body = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "drip"}]}
        async with session.post(f"{node.url}/v1/chat/completions", json=body) as stream:
            assert await stream.content.readany()
            node.program.process.send_signal(signal.SIGTERM)
            await node.program.saw("draining for at most")
            for _ in range(20):
                assert await stream.content.readany()
            assert node.program.process.returncode is None
        assert await asyncio.wait_for(node.program.process.wait(), ENDED_S) == 0
        assert "the drain failed: " in node.program.output()
