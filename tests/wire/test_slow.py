"""Slow clients: each has its time, which the tests' server gives little of, and is closed when that is over.

No test measures time: that some has passed is seen by an idle connection, which is closed after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import h11
import pytest

from relay.wire.server import Pace
from tests.programs import until
from tests.wire.raw_client import RawClient
from tests.wire.rows import PLANES, chat, got, lines, message, posted
from tests.wire.scene import Scene
from tests.wire.scene import scene as make_scene

_S = 0.3
PACE = Pace(head_s=_S, body_s=_S, idle_s=_S, linger_s=_S)


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with make_scene(tmp_path_factory.mktemp("slow"), pace=PACE) as made:
        yield made


async def time_passes(scene: Scene) -> None:
    """Longer than any limit of this server but those on an upstream."""
    for _ in range(2):
        async with scene.connect() as idle:
            await idle.ended()


async def closed(client: RawClient, *statuses: int) -> None:
    """The connection ends; a reason may be given first (nginx gives none)."""
    try:
        answer = await client.answer("POST")
    except h11.RemoteProtocolError:
        return  # not a byte
    assert answer.status in statuses and answer.closes, answer
    assert answer.error["code"]
    await client.ended()


async def test_an_idle_connection_is_closed_without_a_word(scene: Scene) -> None:
    async with scene.connect() as client:
        await client.ended()
    for raw in (got(), posted("api", "word"), posted("proxy", "word")):
        async with scene.connect() as client:
            await client.send(raw)
            assert (await client.answer()).status == 200
            await client.ended()
    await scene.assert_alive()


@pytest.mark.parametrize("start", ["G", "GET /health HT", "\r\n", "GET /health HTTP/1.1\r\nHost: a\r\nA: b"])
@pytest.mark.parametrize("after", ["first", "second"])
async def test_a_head_that_does_not_end(scene: Scene, start: str, after: str) -> None:
    async with scene.connect() as client:
        if after == "second":
            await client.send(got())
            assert (await client.answer()).status == 200
        await client.send(start.encode())
        await closed(client, 408)
    await scene.assert_alive()


@pytest.mark.parametrize("head", [lines("api"), ("GET /health HTTP/1.1", "Host: a")])
async def test_a_head_of_which_a_byte_comes_now_and_then(scene: Scene, head: tuple[str, ...]) -> None:
    """Its time is not counted anew with each byte: that is slow-loris."""
    drops = iter(("\r\n".join(head) + "\r\n" + "X-Header: value\r\n" * 2000).encode())
    async with scene.connect() as client:
        closing = asyncio.ensure_future(closed(client, 408))
        async with scene.connect() as clock:
            while not closing.done():
                await client.send(bytes([next(drops)]))
                await clock.send(got())  # so much time is between two bytes
                assert (await clock.answer()).status == 200
        await closing
    await scene.assert_alive()


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("start", [b"", b"1\r\n{", b"1\r\n{\r\n"])
async def test_a_body_that_stops(scene: Scene, framing: str, start: bytes) -> None:
    async with scene.connect() as client:
        await client.send(message(*lines("api"), framing, body=start))
        answer = await client.answer("POST")
        assert (answer.status, answer.error["code"], answer.closes) == (400, "body_stalled", True), answer
        await client.ended()
    await scene.assert_alive()


async def test_a_body_of_which_a_byte_comes_now_and_then_is_read(scene: Scene) -> None:
    """nginx's limit too is between two reads."""
    scene.upstream.asked.clear()
    raw = posted("api", "word")
    start = raw.index(b"\r\n\r\n") + 4
    async with scene.connect() as client, scene.connect() as clock:
        await client.send(raw[:start])
        for at in range(start, len(raw)):
            await clock.send(got())
            assert (await clock.answer()).status == 200
            await client.send(raw[at : at + 1])
        assert (await client.answer("POST")).status == 200
    assert scene.reached() == ["word"]
    await scene.assert_alive()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_upstream_may_take_its_time(scene: Scene, stream: bool) -> None:
    """No limit on clients is one on answers."""
    scene.upstream.asked.clear()
    scene.upstream.go_on.clear()
    body = chat("hold", stream=stream)
    async with scene.connect() as client:
        await client.send(message(*lines("api"), f"Content-Length: {len(body)}", body=body))
        await until(lambda: scene.upstream.words == ["hold"])
        await time_passes(scene)
        scene.upstream.go_on.set()
        answer = await client.answer("POST")
        assert (answer.status, answer.closes) == (200, False), answer
        await client.send(got())
        assert (await client.answer()).status == 200
    scene.reached()
    await scene.assert_alive()


async def test_half_a_request_behind_a_long_answer_has_its_time_from_then(scene: Scene) -> None:
    scene.upstream.asked.clear()
    scene.upstream.go_on.clear()
    body, behind = chat("hold", stream=True), posted("api", "behind")
    async with scene.connect() as client:
        await client.send(message(*lines("api"), f"Content-Length: {len(body)}", body=body) + behind[:40])
        await until(lambda: scene.upstream.words == ["hold"])
        await time_passes(scene)
        scene.upstream.go_on.set()
        assert (await client.answer("POST")).body.endswith(b"[DONE]\n\n")
        await client.send(behind[40:])
        assert b"behind" in (await client.answer("POST")).body
    scene.reached()
    await scene.assert_alive()


@pytest.mark.parametrize("raw", [b"NONSENSE\r\n\r\n", message(*lines("api"), "Content-Length: 99999999999")])
async def test_who_is_refused_and_does_not_go_is_cut_off(scene: Scene, raw: bytes) -> None:
    """It may have sent more than it has read; but not for ever."""
    async with scene.connect() as client:
        await client.send(raw)
        assert (await client.answer("POST")).closes
        await client.ended()
        async with scene.connect() as clock:
            while not client.broken_pipe:
                await client.send(b"x")
                await clock.send(got())
                assert (await clock.answer()).status == 200
    await scene.assert_alive()


async def test_who_takes_nothing_of_its_stream_is_cut_off(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with make_scene(tmp_path_factory.mktemp("taking"), pace=Pace(taking_s=_S)) as scene:
        body = chat("flood", stream=True)
        async with scene.connect(4096) as client:
            await client.send(message(*lines("api"), f"Content-Length: {len(body)}", body=body))
            await until(lambda: scene.upstream.given_up == 1, lambda: "the stream to be given up")
        await scene.assert_alive()


@pytest.mark.parametrize("plane", PLANES)
async def test_time_passes_by_who_is_quick_enough(scene: Scene, plane: str) -> None:
    async with scene.connect() as client:
        for _ in range(100):
            await client.send(posted(plane, "word"))
            assert (await client.answer("POST")).status == 200
    scene.reached()
    await scene.assert_alive()
