"""A node whose configuration is edited while it serves, and streams that run meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.node.agent import Agent, options
from tests.programs import until

Models = dict[str, dict[str, Any]]

TOKENS = 300
LIMIT_S = 60.0
LLAMA_SERVER = Path(sys.prefix) / "lib" / f"python3.{sys.version_info[1]}" / "site-packages/bin/llama-server"
_GATED = """#!/bin/sh
case " $* " in *" --alias slow"*) while [ ! -e {gate} ]; do sleep 0.05; done;; esac
exec {program} "$@"
"""


def hang_up(node: Agent) -> None:
    node.program.process.send_signal(signal.SIGHUP)


async def edited(node: Agent, folder: Path, models: Mapping[str, Mapping[str, Any]], **changed: Any) -> str:
    """Write the configuration anew and have it read; returns what the log says of that."""
    since = len(node.program.output())
    options(folder, models, **changed)
    hang_up(node)
    return await told(node, since)


async def told(node: Agent, since: int) -> str:
    """The line that says what came of a SIGHUP."""
    said = await node.program.saw("SIGHUP: ", since, LIMIT_S)
    return next(line for line in said.splitlines() if "SIGHUP: " in line)


class Stream:
    """A streamed chat, read in the background."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.text = ""
        self.finish: str | None = None
        self.tokens = 0
        self.done = False  # said so itself
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._response.content:
            data = line.removeprefix(b"data: ").strip()
            if data == b"[DONE]":
                self.done = True
            elif line.startswith(b"data: "):
                self._take(orjson.loads(data))

    def _take(self, event: Any) -> None:
        assert "error" not in event, event
        for choice in event["choices"]:
            self.text += choice["delta"].get("content") or ""
            self.finish = choice["finish_reason"] or self.finish
        self.tokens = (event.get("usage") or {}).get("completion_tokens", self.tokens)

    async def whole(self) -> str:
        """Its text, once it has ended, and as it should."""
        async with asyncio.timeout(LIMIT_S):
            await self.reading
        assert (self.done, self.finish, self.tokens) == (True, "length", TOKENS)
        return self.text


@contextlib.asynccontextmanager
async def streaming(session: aiohttp.ClientSession, node: Agent, model: str) -> AsyncIterator[Stream]:
    """A stream that has begun, of TOKENS tokens."""
    body = {
        "model": model, "messages": [{"role": "user", "content": "Tell me a long story."}], "stream": True,
        "stream_options": {"include_usage": True}, "max_tokens": TOKENS, "ignore_eos": True, "temperature": 0,
    }  # fmt: skip
    async with session.post(f"{node.url}/v1/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        stream = Stream(response)
        try:
            await until(lambda: bool(stream.text), lambda: f"the first word of {model}", limit_s=LIMIT_S)
            yield stream
        finally:
            stream.reading.cancel()
            await asyncio.gather(stream.reading, return_exceptions=True)


def engines_of(node: Agent, model: str) -> list[int]:
    """Processes that serve the model, or are about to."""
    return [pid for pid in node.engines() if _alias(pid) == model]


def _alias(pid: int) -> str | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return None
    return words[words.index("--alias") + 1] if "--alias" in words else None


async def engine_of(node: Agent, model: str) -> int:
    """Its one process, once there is one."""
    await until(lambda: len(engines_of(node, model)) == 1, lambda: f"one engine of {model}", limit_s=LIMIT_S)
    return engines_of(node, model)[0]


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Those processes stand still: what they were writing has not ended."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def models_of(session: aiohttp.ClientSession, node: Agent) -> dict[str, Any]:
    """What can be called, by name."""
    async with session.get(f"{node.url}/v1/models") as response:
        assert response.status == 200
        return {item["id"]: item for item in (await response.json())["data"]}


async def status_of(session: aiohttp.ClientSession, node: Agent, model: str) -> int:
    """What a short call of it is answered with."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 2}
    async with session.post(f"{node.url}/v1/chat/completions", json=body) as response:
        await response.read()
        return response.status


async def serves(session: aiohttp.ClientSession, node: Agent, contexts: Mapping[str, int]) -> None:
    """Wait until these models can be called and no others, each with so many tokens of context."""
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(LIMIT_S):
            while {name: item["context_length"] for name, item in found.items()} != contexts:
                await asyncio.sleep(0.05)
                found = await models_of(session, node)
    except TimeoutError:
        raise AssertionError(f"it serves {found}, not {contexts}:\n{node.program.output()[-4000:]}") from None


def gated(folder: Path) -> tuple[Path, Path]:
    """A llama-server that does not start to load models whose name begins with "slow", until the gate is a file."""
    program, gate = folder / "gated-llama-server", folder / "gate"
    program.write_text(_GATED.format(gate=gate, program=shutil.which(LLAMA_SERVER)))
    program.chmod(0o755)
    return program, gate
