"""What happens when an engine or the agent dies, or is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.node.agent import Agent, agent, alive, chat, options
from tests.programs import running, until

MODEL = "smollm2"


@pytest.fixture
def cut(tmp_path: Path, weights: Path) -> Path:
    """The demo model, truncated."""
    path = tmp_path / "cut.gguf"
    path.write_bytes(weights.read_bytes()[:60_000_000])
    return path


async def health(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(f"{url}/health") as response:
        return response.status, (await response.json())["status"]


@pytest.mark.engine
async def test_a_killed_llama_server_is_restarted_and_the_next_request_answered(
    tmp_path: Path, weights: Path, session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {MODEL: {"uri": str(weights), "context": 512}}) as node:
        (first,) = node.engines()
        os.kill(first, signal.SIGKILL)
        seen = set[tuple[int, str]]()
        answer = asyncio.create_task(chat(session, node.url, MODEL, "Say hello."))
        deadline = time.monotonic() + 20
        while not answer.done() and time.monotonic() < deadline:
            seen.add(await health(session, node.url))
        assert (await answer)[0] == 200
        assert (503, "starting") in seen
        assert await health(session, node.url) == (200, "ready")
        assert node.engines() != [first]
        assert "was ended by SIGKILL" in node.program.output()


@pytest.mark.engine
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_no_llama_server_is_left_when_the_agent_ends(tmp_path: Path, weights: Path, how: signal.Signals) -> None:
    async with agent(tmp_path, {MODEL: {"uri": str(weights), "context": 512}}) as node:
        engines = node.engines()
        assert len(engines) == 1
        code = await node.program.stop(how)
        assert code == (-signal.SIGKILL if how is signal.SIGKILL else 0)
        await until(lambda: not any(alive(pid) for pid in engines))


@pytest.mark.engine
async def test_a_file_that_cannot_be_served_leaves_the_others_alone(
    tmp_path: Path, weights: Path, cut: Path, session: aiohttp.ClientSession
) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("this is no model")
    models = {"cut": {"uri": str(cut)}, "text": {"uri": str(text)}, MODEL: {"uri": str(weights), "context": 512}}
    async with agent(tmp_path, models) as node:
        assert (await chat(session, node.url, MODEL, "Hi."))[0] == 200
        status, body = await chat(session, node.url, "cut", "Hi.")
        assert (status, body["error"]["code"]) == (503, "model_not_loaded")
        output = node.program.output()
        assert f"cut is not served: {cut}: it is truncated: 60000000 of 98362432 bytes" in output
        assert f"text is not served: {text}: it has 16 bytes; this is no GGUF file" in output
        assert "Traceback" not in output


@pytest.mark.engine
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--no-such-flag"], "error: invalid argument: --no-such-flag"),
        (["--top-k", "x"], 'error while handling argument "--top-k": stoi'),
    ],
)
async def test_a_flag_that_llama_server_does_not_know_takes_its_model_away_and_no_other(
    tmp_path: Path, weights: Path, session: aiohttp.ClientSession, flags: list[str], said: str
) -> None:
    models: dict[str, dict[str, Any]] = {
        "odd": {"uri": str(weights), "flags": flags},
        MODEL: {"uri": str(weights), "context": 512},
    }
    async with agent(tmp_path, models, log_level="info") as node:
        line = f"odd is not served: llama-server says '{said}'; change flags in [node.models.odd]"
        assert line in node.program.output()
        assert f"serves {MODEL} on" in node.program.output()
        assert (await chat(session, node.url, MODEL, "Hi."))[0] == 200
        status, body = await chat(session, node.url, "odd", "Hi.")
        assert (status, body["error"]["code"]) == (503, "model_not_loaded")
        async with session.get(f"{node.url}/v1/models") as response:
            assert [item["id"] for item in (await response.json())["data"]] == [MODEL]
        assert await health(session, node.url) == (200, "ready")


async def test_a_request_that_ends_the_engine_is_not_sent_to_its_next_life(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {MODEL: {"uri": str(small_gguf)}}, llama_server=str(fake_llama)) as node:
        status, body = await chat(session, node.url, MODEL, "die")
        assert (status, body["error"]["code"]) == (502, "upstream_reset")
        assert (await chat(session, node.url, MODEL, "Hi."))[0] == 200
        assert (await health_of(session, node.url))["starts"] == 2


async def test_a_node_with_nothing_to_serve_ends_with_one_line(tmp_path: Path, fake_llama: Path) -> None:
    words = options(tmp_path, {MODEL: {"uri": str(tmp_path / "gone.gguf")}}, llama_server=str(fake_llama))
    async with running(words, tmp_path / "log.txt") as program:
        assert await asyncio.wait_for(program.process.wait(), 90) == 1
        last = program.output().splitlines()[-1]
        assert last == f"waypost: no model can be served: {tmp_path}/gone.gguf: there is no such file; check the path"


async def test_a_busy_port_is_one_clear_line(tmp_path: Path, fake_llama: Path, small_gguf: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        words = options(tmp_path, {MODEL: {"uri": str(small_gguf)}}, llama_server=str(fake_llama), listen=listen)
        async with running(words, tmp_path / "log.txt") as program:
            assert await asyncio.wait_for(program.process.wait(), 90) == 1
            said = program.output().splitlines()[-1]
            assert said.startswith(f"waypost: cannot listen on {listen} (")
            assert said.endswith("; choose another --listen")
            assert "Traceback" not in program.output()


async def test_a_flag_of_the_node_s_own_and_a_missing_llama_server_are_named(tmp_path: Path, small_gguf: Path) -> None:
    for settings, changed, said in (
        ({"flags": ["--host", "0.0.0.0"]}, {}, "flags: --host cannot be passed to llama-server"),
        ({}, {"llama_server": str(tmp_path / "none")}, "there is no llama-server at"),
    ):
        words = options(tmp_path, {MODEL: {"uri": str(small_gguf), **settings}}, **changed)
        async with running(words, tmp_path / "log.txt") as program:
            assert await asyncio.wait_for(program.process.wait(), 90) == 1
            assert said in program.output().splitlines()[-1]


async def draining(node: Agent, session: aiohttp.ClientSession) -> None:
    """Send the first signal, and wait until the node says that it drains."""
    node.program.process.send_signal(signal.SIGTERM)
    while await health(session, node.url) != (503, "draining"):
        assert node.program.process.returncode is None


async def test_the_first_signal_drains_and_lets_running_requests_end(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {MODEL: {"uri": str(small_gguf)}}, llama_server=str(fake_llama), drain_s=20) as node:
        body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "drip"}]}
        async with session.post(f"{node.url}/v1/chat/completions", json=body) as stream:
            assert await stream.content.readany()
            await draining(node, session)
            status, refused = await chat(session, node.url, MODEL, "Hi.")
            assert (status, refused["error"]["code"]) == (503, "draining")
            assert await stream.content.readany()  # it still runs
        # the client has left, so nothing runs any more
        assert await asyncio.wait_for(node.program.process.wait(), 90) == 0


async def test_a_second_signal_stops_at_once(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    model = {"uri": str(small_gguf), "flags": ["--ignore-term", "--child"]}
    async with agent(tmp_path, {MODEL: model}, llama_server=str(fake_llama), drain_s=60) as node:
        child = int((await node.program.saw("child ")).rpartition("child ")[2].split()[0])
        held = asyncio.create_task(chat(session, node.url, MODEL, "hold"))
        while (await health_of(session, node.url))["in_flight"] != 1:
            assert not held.done()
        await draining(node, session)
        node.program.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(node.program.process.wait(), 90) == 0
        await asyncio.gather(held, return_exceptions=True)
        await until(lambda: not alive(child))
        assert "Traceback" not in node.program.output()
        assert "never retrieved" not in node.program.output()


async def health_of(session: aiohttp.ClientSession, url: str) -> dict[str, int]:
    async with session.get(f"{url}/health") as response:
        found: dict[str, int] = (await response.json())["models"][MODEL]
        return found


async def test_a_client_that_leaves_frees_its_slot(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    model = {"uri": str(small_gguf), "parallel": 1}
    async with agent(tmp_path, {MODEL: model}, llama_server=str(fake_llama)) as node:
        for content in ("hold", "drip"):
            asked = asyncio.create_task(chat(session, node.url, MODEL, content, stream=content == "drip"))
            while (await health_of(session, node.url))["in_flight"] != 1:
                assert not asked.done()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            assert (await chat(session, node.url, MODEL, "Hi."))[0] == 200
            found = await health_of(session, node.url)
            assert (found["in_flight"], found["waiting"]) == (0, 0)


async def test_only_named_headers_reach_the_engine(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {MODEL: {"uri": str(small_gguf)}}, llama_server=str(fake_llama)) as node:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi."}]}
        sent = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Conversation-Id": "c", "X-Waypost-Token": "t"}
        async with session.post(f"{node.url}/v1/chat/completions", json=body, headers=sent) as response:
            seen = (await response.json())["choices"][0]["message"]["content"]
        assert not [name for name in sent if name.lower() in seen.lower()]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_is_stopped_is_ended_and_started_anew(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession, stream: bool
) -> None:
    limits = {"head_s": 3, "gap_s": 1}
    async with agent(tmp_path, {MODEL: {"uri": str(small_gguf)}}, llama_server=str(fake_llama), **limits) as node:
        (engine,) = node.engines()
        if stream:
            body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "drip"}]}
            async with session.post(f"{node.url}/v1/chat/completions", json=body) as answer:
                assert await answer.content.readany()
                os.kill(engine, signal.SIGSTOP)
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.content.read()
        else:
            os.kill(engine, signal.SIGSTOP)
            assert (await chat(session, node.url, MODEL, "Hi."))[0] == 504
        await node.program.saw("did not answer any more")
        await until(lambda: not alive(engine))
        status = 0
        while status != 200:
            status, _ = await chat(session, node.url, MODEL, "Hi.")
        assert (await health_of(session, node.url))["in_flight"] == 0
