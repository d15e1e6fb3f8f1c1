"""Nodes that fail: skipped before the first byte where the protocol lets them be, never made to look whole after it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest

from tests.gateway.scene import CHAT, Rogue, chat, new_scene, rogue
from tests.programs import until
from tests.stack import Stack, serve_gateway

HEAD_S = GAP_S = 1.5
MODES = ("silent", "reset", "fail", "busy", "away", "refuse", "forbid", "moved", "cut", "undone", "stall", "dead")
ALONE = {  # status, and whether the client is told when to come back
    "silent": (504, False),
    "reset": (502, False),
    "fail": (502, False),
    "busy": (429, True),
    "away": (503, True),
    "forbid": (502, False),
    "moved": (502, False),
    "dead": (503, True),
}


@dataclass
class Scene:
    """One bad node of each mode, and a good one that offers every `MODE-or-good` beside it."""

    stack: Stack
    good: Rogue
    bad: dict[str, Rogue]


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("failover")
    stack, operator = new_scene(folder)
    async with AsyncExitStack() as exits:
        modes = ("fine", *("fine" if mode == "dead" else mode for mode in MODES))
        good, *bad = await asyncio.gather(*(exits.enter_async_context(rogue(folder, mode)) for mode in modes))
        made = Scene(stack, good, dict(zip(MODES, bad, strict=True)))
        for mode, node in made.bad.items():
            await operator.offer(node, f"{mode}-or-good", f"{mode}-only")
        await operator.offer(good, *(f"{mode}-or-good" for mode in MODES))
        limits = ("--open", "--head-s", str(HEAD_S), "--gap-s", str(GAP_S))
        await exits.enter_async_context(serve_gateway(stack, limits, proven=len(MODES) + 1))
        await made.bad["dead"].program.stop(signal.SIGKILL)
        yield made


@pytest.mark.parametrize("mode", ALONE)
async def test_a_bad_node_is_skipped_before_the_first_byte(
    scene: Scene, session: aiohttp.ClientSession, mode: str
) -> None:
    before = scene.bad[mode].asked
    status, headers, body = await chat(session, scene.stack, f"{mode}-or-good")
    assert (status, headers["Waypost-Node"]) == (200, scene.good.key.public), body
    assert body["choices"][0]["message"]["content"] == "rogue"
    assert scene.bad[mode].asked - before == (0 if mode == "dead" else 1), "the bad one was asked first"


@pytest.mark.parametrize("mode", ALONE)
async def test_where_all_nodes_fail_the_last_failure_is_told(
    scene: Scene, session: aiohttp.ClientSession, mode: str
) -> None:
    status, headers, body = await chat(session, scene.stack, f"{mode}-only")
    assert (status, "Retry-After" in headers) == ALONE[mode], body
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert body["error"]["code"] is None or isinstance(body["error"]["code"], str)
    answered = mode in ("fail", "busy", "away", "forbid", "moved")
    assert headers.get("Waypost-Node") == (scene.bad[mode].key.public if answered else None)
    assert scene.bad[mode].url not in str(body), "where a node stands is nobody's business"


async def test_a_streamed_request_is_tried_again_too(scene: Scene, session: aiohttp.ClientSession) -> None:
    body = {**CHAT, "model": "fail-or-good", "stream": True}
    async with session.post(f"{scene.stack.base_url}/chat/completions", json=body) as response:
        assert response.content_type == "text/event-stream"
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
        assert response.headers["Waypost-Node"] == scene.good.key.public


async def test_a_nodes_400_is_the_clients_and_is_not_tried_again(scene: Scene, session: aiohttp.ClientSession) -> None:
    before = scene.good.asked
    status, _, body = await chat(session, scene.stack, "refuse-or-good")
    assert status == 400
    assert body["error"] == {
        "message": "rogue refuse",
        "type": "invalid_request_error",
        "param": "messages",
        "code": None,
    }
    assert scene.good.asked == before


@pytest.mark.parametrize("mode", ["cut", "undone", "stall"])
async def test_a_stream_that_breaks_never_looks_complete(
    scene: Scene, session: aiohttp.ClientSession, mode: str
) -> None:
    body = {**CHAT, "model": f"{mode}-or-good", "stream": True}
    before = scene.good.asked
    read = bytearray()
    async with session.post(f"{scene.stack.base_url}/chat/completions", json=body) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):  # the final chunk is missing
            async for piece in response.content.iter_any():
                read += piece
    *events, error = [line for line in bytes(read).split(b"\n\n") if line]
    assert len(events) == 1
    assert b"half an" in events[0]
    assert error.startswith(b'data: {"error":{"message":')
    assert b"\ndata: [DONE]" not in read
    assert scene.good.asked == before, "nothing says that its answer would be the rest of this one"


async def test_failures_are_counted_by_cause_and_nothing_stays_in_flight(
    scene: Scene, session: aiohttp.ClientSession
) -> None:
    await chat(session, scene.stack, "dead-only")
    await chat(session, scene.stack, "fail-only")
    async with session.get(f"{scene.stack.gateway_url}/metrics") as response:
        metrics = await response.text()
    assert 'waypost_gateway_node_failures_total{cause="connect_failed"}' in metrics
    assert 'cause="status_502"' in metrics, "what a node says of its own failure is no label"
    assert "waypost_gateway_in_flight 0.0" in metrics


async def test_a_client_that_leaves_takes_its_request_to_the_node_with_it(
    scene: Scene, session: aiohttp.ClientSession
) -> None:
    asked = scene.bad["silent"].asked
    body = {**CHAT, "model": "silent-only"}
    left = asyncio.create_task(session.post(f"{scene.stack.base_url}/chat/completions", json=body))
    await until(lambda: scene.bad["silent"].asked > asked)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    for _ in range(500):
        async with session.get(f"{scene.stack.gateway_url}/metrics") as response:
            if "waypost_gateway_in_flight 0.0" in await response.text():
                return
    raise AssertionError("a request is still in flight")
