"""A model computed by an RPC worker of llama.cpp, which is a real one on loopback: it may be away, and may die."""

from __future__ import annotations

import contextlib
import re
import signal
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.node.agent import agent, chat
from tests.programs import Program, free_port, running, until

pytestmark = pytest.mark.engine
WORKER = Path(sysconfig.get_path("platlib"), "bin", "ggml-rpc-server")
RUN = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
GREEDY: dict[str, Any] = {"temperature": 0, "seed": 1}
LAYERS = re.compile(r"layer +\d+ assigned to device RPC0")


@contextlib.asynccontextmanager
async def worker(folder: Path, port: int) -> AsyncIterator[Program]:
    """An RPC worker, listening."""
    log = folder / "worker.txt"
    before = len(log.read_text()) if log.exists() else 0
    words = ("-c", RUN, "stdbuf", "-oL", str(WORKER), "--host", "127.0.0.1", "--port", str(port), "--threads", "1")
    async with running(words, log) as program:
        await program.saw("endpoint", before)
        yield program


def _models(weights: Path, port: int) -> dict[str, dict[str, Any]]:
    small = {"uri": str(weights), "context": 512, "parallel": 1, "threads": 1}
    spread = {**small, "rpc": [f"127.0.0.1:{port}"], "flags": ["--verbose"]}
    return {"spread": spread, "alone": small}


async def test_a_worker_computes_is_lost_and_comes_back(
    weights: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    async with contextlib.AsyncExitStack() as exits:
        first = await exits.enter_async_context(worker(tmp_path, port))
        node = await exits.enter_async_context(agent(tmp_path, _models(weights, port)))
        asked = ("Name three colours.",)
        status, spread = await chat(session, node.url, "spread", *asked, **GREEDY)
        assert status == 200, spread
        _, alone = await chat(session, node.url, "alone", *asked, **GREEDY)
        assert spread["choices"][0]["message"] == alone["choices"][0]["message"]
        assert len(LAYERS.findall(node.program.output())) >= 30, "the model's layers are the worker's"
        assert "Accepted client connection" in first.output()

        before = len(node.program.output())
        await first.stop(signal.SIGKILL)
        status, body = await chat(session, node.url, "spread", *asked)
        assert status in (502, 503), body
        assert body["error"]["message"]
        await node.program.saw(f"Failed to connect to 127.0.0.1:{port}", before)
        assert (await chat(session, node.url, "alone", *asked))[0] == 200, "the other models go on"

        await exits.enter_async_context(worker(tmp_path, port))
        await _recovers(session, node.url)
        assert (await chat(session, node.url, "spread", *asked, **GREEDY))[1]["choices"] == spread["choices"]


async def test_a_worker_that_is_away_at_first_is_waited_for(
    weights: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    async with agent(tmp_path, _models(weights, port)) as node:
        await node.program.saw(f"Failed to connect to 127.0.0.1:{port}")
        assert (await chat(session, node.url, "alone", "Hello"))[0] == 200
        async with worker(tmp_path, port):
            await _recovers(session, node.url)


async def _recovers(session: aiohttp.ClientSession, url: str) -> None:
    async def state() -> str:
        async with session.get(f"{url}/health") as response:
            return str((await response.json())["models"]["spread"]["state"])

    found = [""]
    while found[0] != "ready":  # each start is awaited by the next request, which waits for it
        found[0] = await state()
        await chat(session, url, "spread", "Hello")


async def test_a_llama_server_without_rpc_says_how_to_get_one(weights: Path, tmp_path: Path) -> None:
    old = tmp_path / "llama-server"
    real = WORKER.with_name("llama-server")
    refusal = 'error while handling argument "--rpc": RPC not supported in this build'
    old.write_text(f'#!/bin/sh\ncase "$*" in *--rpc*) echo \'{refusal}\'; exit 1;; esac\nexec {real} "$@"\n')
    old.chmod(0o755)
    async with agent(tmp_path, _models(weights, 1), llama_server=str(old)) as node:
        await until(lambda: "built without RPC" in node.program.output())
        (line,) = [line for line in node.program.output().splitlines() if "built without RPC" in line]
        assert "spread is not served" in line
        assert "drop rpc from [node.models.spread]" in line
