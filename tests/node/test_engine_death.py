"""Engines killed while they load, while they are ready and while they answer: the client is told, the node recovers.

A further engine, or a further way of asking one, is a row of `ROWS`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest

from bench.process import cpu_s
from deploy import demo
from deploy.demo import Demo
from relay.endpoints import ENDPOINTS
from tests.node.agent import Agent, agent
from tests.node.elsewhere import becomes, sound
from tests.programs import until

pytestmark = pytest.mark.engine

BUSY_S = 0.2  # of CPU time since it was asked: by then an engine computes
LIMIT_S = 60


@dataclass(frozen=True)
class Row:
    """One engine and one way of asking it. `short` is soon answered, `long` gives time to kill the engine meanwhile.

    A body with a `file` (seconds of sound) is a form. `flow`: the media type of what comes as it is made.
    """

    name: str
    model: Demo
    path: str
    short: Mapping[str, Any]
    long: Mapping[str, Any]
    flow: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @property
    def retried(self) -> bool:
        """Whether it may be asked again after silence."""
        return next(each for each in ENDPOINTS.values() if each.path == self.path).retry_after_silence


def chat(words: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": words}], "max_tokens": 2, **more}


EVENTS = "text/event-stream"
LONG = {"max_tokens": 1500, "ignore_eos": True}
SAID = "The quick brown fox jumps over the lazy dog while the band plays on. "
PICTURE = {"prompt": "a lighthouse", "size": "64x64", "steps": 1, "cfg_scale": 1.0}
MANY = ["A cat sat on a mat, and looked at the moon for a while."] * 1500
SIZES = {"context": 2048, "parallel": 1}
ROWS = [
    Row("chat", demo.CHAT, "chat/completions", chat("Hi."), chat("Count.", **LONG), settings=SIZES),
    Row(
        "chat streamed", demo.CHAT, "chat/completions", chat("Hi.", stream=True), chat("Count.", stream=True, **LONG),
        flow=EVENTS, settings=SIZES,
    ),
    Row("embeddings", demo.EMBEDDING, "embeddings", {"input": "A cat."}, {"input": MANY}),
    Row(
        "rerank", demo.EMBEDDING, "rerank", {"query": "cat", "documents": ["A cat."]},
        {"query": "cat", "documents": MANY[:1000]},
    ),
    Row("image", demo.IMAGE, "images/generations", PICTURE, PICTURE | {"size": "256x256", "steps": 100}),
    Row(
        "image streamed", demo.IMAGE, "images/generations", PICTURE | {"stream": True},
        PICTURE | {"stream": True, "size": "256x256", "steps": 100, "partial_images": 1}, flow=EVENTS,
    ),
    Row(
        "speech", demo.SPEECH, "audio/speech", {"input": "Hi.", "response_format": "pcm"},
        {"input": SAID * 50, "response_format": "pcm"}, flow="audio/pcm",
    ),
    Row("transcription", demo.TRANSCRIPTION, "audio/transcriptions", {"file": 1}, {"file": 600}),
]  # fmt: skip


@dataclass
class Scene:
    """A node that serves the row's model alone."""

    row: Row
    node: Agent
    session: aiohttp.ClientSession

    @property
    def engine(self) -> int | None:
        """The engine's process, if there is one."""
        return next(iter(self.node.engines()), None)

    def asking(self, body: Mapping[str, Any]) -> Any:
        url = f"{self.node.url}/v1/{self.row.path}"
        named = {"model": self.row.model.name, **body}
        if "file" not in named:
            return self.session.post(url, json=named)
        form = aiohttp.FormData()
        form.add_field("file", sound(named.pop("file")), filename="a.wav", content_type="audio/wav")
        for name, value in named.items():
            form.add_field(name, str(value))
        return self.session.post(url, data=form)

    async def good(self) -> None:
        """The next request is answered, and to its end."""
        async with self.asking(self.row.short) as response:
            body = await response.read()
            assert response.status == 200, body
            assert body

    async def refused_or_good(self, body: Mapping[str, Any]) -> int:
        """Whatever comes of it is whole: a good answer, or an error in OpenAI's envelope. Returns the status."""
        async with self.asking(body) as response:
            read = await response.read()
            if response.status != 200:
                assert response.status in (502, 503), read
                error = orjson.loads(read)["error"]
                assert error["code"] in ("upstream_reset", "upstream_broken", "connect_failed", "engine_not_ready")
                assert response.status != 503 or "Retry-After" in response.headers
            status: int = response.status
            return status

    async def another(self, than: int) -> int:
        """The engine's next process."""
        await until(lambda: self.engine not in (None, than), limit_s=LIMIT_S)
        assert self.engine is not None
        return self.engine


# Each row has a node of its own: with each kill the pause before the next start grows.
@pytest.fixture(scope="module", params=ROWS, ids=str)
async def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    row: Row = request.param
    model = {**row.model.options(), **row.settings}
    folder = tmp_path_factory.mktemp("node")
    async with (
        agent(folder, {row.model.name: model}, log_level="info", ready_s=LIMIT_S) as node,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2 * LIMIT_S)) as session,
    ):
        yield Scene(row, node, session)
        assert "Traceback" not in node.program.output()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def at_work(pid: int, since_s: float) -> None:
    """Wait until the engine computes."""
    await until(lambda: cpu_s(pid) - since_s >= BUSY_S, lambda: "an engine at work", limit_s=LIMIT_S)


async def test_while_it_loads(scene: Scene) -> None:
    await scene.good()
    first, since = scene.engine, len(scene.node.program.output())
    assert first is not None
    kill(first)
    second = await scene.another(first)
    asked = asyncio.create_task(scene.refused_or_good(scene.row.short))
    kill(second)
    await scene.node.program.saw("was ended by SIGKILL while starting", since)
    assert await asked == 200  # it waited
    assert scene.engine not in (first, second)
    await scene.good()


async def test_while_it_is_ready(scene: Scene) -> None:
    await scene.good()
    first = scene.engine
    assert first is not None
    kill(first)
    await scene.refused_or_good(scene.row.short)
    await scene.another(first)  # until then it may still take a request, and die of what was done to it before
    await scene.good()


async def test_while_it_answers(scene: Scene) -> None:
    await scene.good()
    first = scene.engine
    assert first is not None
    if scene.row.flow is None:
        await cut_short(scene, first)
    else:
        await broken_off(scene, first, scene.row.flow)
    await scene.another(first)
    await scene.good()


async def cut_short(scene: Scene, engine: int) -> None:
    """What may be asked twice is asked once more, and once only; the client is told at last."""
    since = cpu_s(engine)
    asked = asyncio.create_task(scene.refused_or_good(scene.row.long))
    await at_work(engine, since)
    kill(engine)
    if scene.row.retried:
        second = await scene.another(engine)
        await becomes(scene.session, scene.node, scene.row.model.name, "ready")
        assert scene.engine == second
        await at_work(second, cpu_s(second))
        kill(second)
    assert await asked == 502


async def broken_off(scene: Scene, engine: int, flow: str) -> None:
    """What flows ends without an end; events tell why first."""
    read = b""
    async with scene.asking(scene.row.long) as response:
        assert (response.status, response.content_type) == (200, flow)
        read += await response.content.readany()
        kill(engine)
        with pytest.raises(aiohttp.ClientPayloadError):
            async for piece in response.content.iter_any():
                read += piece
    if flow == EVENTS:
        assert b"upstream_" in read or b"engine_" in read
        assert not [mark for mark in (b"[DONE]", b".completed") if mark in read]
