"""Worker programs as the agent runs them, and a client for their Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.programs import UP_LIMIT_S, Program, running, until

HOST = "http://worker"


@dataclass(frozen=True)
class Answered:
    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def error(self) -> tuple[int, str | None, str | None]:
        """Status, param and code of an error in OpenAI's envelope."""
        error = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]
        return self.status, error["param"], error["code"]

    def events(self) -> list[dict[str, Any]]:
        assert self.content_type == "text/event-stream"
        blocks = self.body.decode().split("\n\n")
        assert blocks.pop() == ""
        return [json.loads(block.removeprefix("data: ")) for block in blocks]


@dataclass(frozen=True)
class Worker:
    """A running program, and a session on its socket."""

    program: Program
    session: aiohttp.ClientSession

    async def health(self) -> tuple[int, dict[str, Any]]:
        async with self.session.get(f"{HOST}/health") as response:
            return response.status, await response.json()

    async def healthy(self, good: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a `/health` that is 200 and good; returns it."""
        deadline = time.monotonic() + UP_LIMIT_S
        while time.monotonic() < deadline:
            status, found = await self.health()
            if status == 200 and good(found):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"/health never was as wanted; last {found}; log:\n{self.program.output()[-4000:]}")

    @contextlib.contextmanager
    def peaking(self, most_bytes: int) -> Iterator[None]:
        """Meanwhile its memory may grow by this much, and no more."""
        of = Path(f"/proc/{self.program.pid}")
        (of / "clear_refs").write_text("5")  # the peak begins anew
        before = _peak_bytes(of)
        yield
        assert _peak_bytes(of) - before < most_bytes

    async def post(self, path: str, **body: Any) -> Answered:
        async with self.session.post(f"{HOST}/v1/audio/{path}", **body) as response:
            return Answered(response.status, response.content_type, await response.read())

    async def say(self, text: str, **fields: Any) -> Answered:
        return await self.post("speech", json={"model": "voice", "input": text, **fields})

    async def hear(self, audio: bytes, path: str = "transcriptions", **fields: Any) -> Answered:
        return await self.post(path, data=form(audio, **fields))


def _peak_bytes(of: Path) -> int:
    return 1024 * int((of / "status").read_text().partition("VmHWM:")[2].split()[0])


def form(audio: bytes | None, **fields: str | list[str]) -> aiohttp.FormData:
    """As clients send it; `granularities` stands for the field with brackets in its name."""
    made = aiohttp.FormData(default_to_multipart=True)
    for name, value in {"model": "whisper", **fields}.items():
        name = "timestamp_granularities[]" if name == "granularities" else name
        for item in value if isinstance(value, list) else [value]:
            made.add_field(name, item)
    if audio is not None:
        made.add_field("file", audio, filename="audio.bin", content_type="application/octet-stream")
    return made


@contextlib.asynccontextmanager
async def started(folder: Path, program: str, model: Path, **options: object) -> AsyncIterator[Worker]:
    """A worker program whose socket is there."""
    socket = folder / "worker.sock"
    words = ["-m", f"node.workers.{program}", "--socket", str(socket), "--model", str(model)]
    words += [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    async with running(words, folder / "worker.log") as running_program:
        await until(
            lambda: socket.exists() or running_program.process.returncode is not None,
            running_program.output,
            limit_s=UP_LIMIT_S,
        )
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session:
            yield Worker(running_program, session)


@contextlib.asynccontextmanager
async def ready(folder: Path, program: str, model: Path, **options: object) -> AsyncIterator[Worker]:
    """A worker program whose model is loaded."""
    async with started(folder, program, model, **options) as worker:
        await loaded(worker)
        yield worker


async def loaded(worker: Worker) -> Mapping[str, Any]:
    return await worker.healthy(lambda found: found["status"] == "ready")
