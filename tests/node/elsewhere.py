"""Engines that no node has started, for tests of external ones: a strict stand-in, and a real llama-server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import wave
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from node.engines.llama import find_build
from tests.node.agent import Agent
from tests.programs import Program, free_port, healthy, running

UPSTREAM = "org/real-model"
KEY = "sk-engine-0123456789"


@dataclass
class Engine:
    """An engine that runs, and the words that started it."""

    program: Program
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def seen(self, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
        """What the stand-in was asked so far, the newest last."""
        async with session.get(f"{self.url}/_seen") as response:
            found: list[dict[str, Any]] = await response.json()
        for each in found:
            each["body"] = base64.b64decode(each["body"])
        return found


@contextlib.asynccontextmanager
async def stand_in(folder: Path, *words: str, port: int = 0, model: str = UPSTREAM) -> AsyncIterator[Engine]:
    """The stand-in, once it listens."""
    log = folder / "engine.txt"
    since = len(log.read_text()) if log.exists() else 0
    arguments = ["-m", "tests.fakes.openai_engine", "--port", str(port), "--model", model, *words]
    async with running(arguments, log) as program:
        said = await program.saw("listening on ", since)
        while not said.rstrip().endswith("."):
            said = await program.saw(".", since)
        yield Engine(program, int(said.partition("listening on ")[2].partition(".")[0]))


@contextlib.asynccontextmanager
async def llama_server(folder: Path, weights: Path, *flags: str) -> AsyncIterator[Engine]:
    """A llama-server as its users start it, on a port of its own."""
    build, port, log = await find_build(None), free_port(), folder / "llama.txt"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            str(build.path), "--model", str(weights), "--host", "127.0.0.1", "--port", str(port), *flags,
            stdout=out, stderr=out, env={**os.environ, "GOMP_SPINCOUNT": "500"}, start_new_session=True,
        )  # fmt: skip
    engine = Engine(Program(process, log), port)
    try:
        async with aiohttp.ClientSession() as session:
            await healthy(session, f"{engine.url}/health", engine.program, lambda _: True)
        yield engine
    finally:
        if process.returncode is None:
            await engine.program.stop()


def settings(engine: Engine | int, **more: Any) -> dict[str, Any]:
    """A model's table in the node's configuration."""
    port = engine if isinstance(engine, int) else engine.port
    return {"uri": f"openai+http://127.0.0.1:{port}", "upstream_model": UPSTREAM, **more}


async def state(session: aiohttp.ClientSession, node: Agent, model: str) -> str:
    """What the node says that the model's engine is at."""
    async with session.get(f"{node.url}/health") as response:
        found: str = (await response.json())["models"][model]["state"]
        return found


async def becomes(session: aiohttp.ClientSession, node: Agent, model: str, wanted: str) -> None:
    """Wait until the engine is at that."""
    async with asyncio.timeout(60):
        while await state(session, node, model) != wanted:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def sound(seconds: float = 0.2) -> bytes:
    """A WAV file of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(bytes(2 * int(16_000 * seconds)))
    return file.getvalue()


def form(fields: Sequence[tuple[str, str]], file: bytes, boundary: str = "a-boundary") -> bytes:
    """A multipart body with the file first, as some clients write it, byte for byte known."""
    parts = [b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + file]
    parts += [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields]
    opening = f"--{boundary}\r\n".encode()
    return b"".join(opening + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
