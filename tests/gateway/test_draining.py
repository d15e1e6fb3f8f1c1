"""A gateway told to stop lets running streams go on and takes nothing new; told twice, it stops at once."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.scene import CHAT, becomes, chat, new_scene, rogue
from tests.programs import Program, until
from tests.stack import Stack, serve_gateway


@dataclass
class Scene:
    stack: Stack
    gateway: Program


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A gateway in front of a node whose streams never end."""
    stack, operator = new_scene(tmp_path)
    async with rogue(tmp_path, "stall") as node:
        await operator.offer(node, "endless")
        async with serve_gateway(stack, ("--open",), proven=1) as gateway:
            yield Scene(stack, gateway)


async def test_a_stream_goes_on_nothing_new_is_taken_and_a_second_signal_stops(
    scene: Scene, session: aiohttp.ClientSession
) -> None:
    body = {**CHAT, "model": "endless", "stream": True}
    async with session.post(f"{scene.stack.base_url}/chat/completions", json=body) as response:
        assert await response.content.readany()
        scene.gateway.process.send_signal(signal.SIGTERM)
        await becomes(session, scene.stack, "endless", 503)
        _, headers, refusal = await chat(session, scene.stack, "endless")
        assert refusal["error"]["code"] == "draining"
        assert "Retry-After" in headers
        async with session.get(f"{scene.stack.gateway_url}/health") as health:
            assert (health.status, (await health.json())["status"]) == (503, "draining")
        assert not response.content.at_eof(), "the running stream was not cut"
        scene.gateway.process.send_signal(signal.SIGTERM)
        await until(lambda: scene.gateway.process.returncode is not None)
    assert "Traceback" not in scene.gateway.output()


async def test_an_idle_gateway_stops_at_the_first_signal(scene: Scene) -> None:
    assert await scene.gateway.stop() == 0
