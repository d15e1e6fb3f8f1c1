"""Clients that leave, at each point of a request: nothing goes on for them, and nothing of theirs is half done.

A client that shuts its side down has left, as nginx takes it (its 499), though it might still read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.programs import until
from tests.wire.raw_client import RawClient
from tests.wire.rows import PLANES, chat, got, lines, message, payload, posted
from tests.wire.scene import Scene

HOWS: dict[str, Callable[[RawClient], None]] = {"shut": RawClient.shut, "reset": RawClient.reset}
HOW = pytest.mark.parametrize("how", HOWS)
PLANE = pytest.mark.parametrize("plane", PLANES)


def asked(word: str, **more: object) -> bytes:
    body = chat(word, **more)
    return message(*lines("api"), f"Content-Length: {len(body)}", body=body)


async def seen(scene: Scene, *words: str) -> None:
    await until(lambda: scene.upstream.words == list(words), lambda: f"{words}, not {scene.upstream.words}")


@HOW
@pytest.mark.parametrize("stream", [True, False])
async def test_before_the_first_byte(scene: Scene, how: str, stream: bool) -> None:
    scene.upstream.asked.clear()
    before = scene.upstream.given_up
    async with scene.connect() as client:
        await client.send(asked("silent", stream=stream))
        await seen(scene, "silent")
        HOWS[how](client)
        await until(lambda: scene.upstream.given_up == before + 1, lambda: "the upstream's request to be given up")
        if how == "shut":
            await client.ended()
    scene.reached()
    await scene.assert_alive()


@HOW
async def test_in_the_midst_of_a_stream(scene: Scene, how: str) -> None:
    scene.upstream.asked.clear()
    before = scene.upstream.given_up
    async with scene.connect() as client:
        await client.send(asked("hold", stream=True))
        await client.head("POST")
        assert await client.piece()
        HOWS[how](client)
        await until(lambda: scene.upstream.given_up == before + 1, lambda: "the upstream's stream to be given up")
    scene.reached()
    await scene.assert_alive()


@HOW
async def test_with_requests_behind_the_one_that_runs(scene: Scene, how: str) -> None:
    """They never begin."""
    scene.upstream.asked.clear()
    before = scene.upstream.given_up
    async with scene.connect() as client:
        await client.send(asked("silent") + posted("api", "behind") + got() + posted("proxy", "behind"))
        await seen(scene, "silent")
        HOWS[how](client)
        await until(lambda: scene.upstream.given_up == before + 1)
    await scene.assert_alive()
    assert scene.reached() == ["silent"]


@HOW
@PLANE
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_in_the_midst_of_its_request(scene: Scene, how: str, plane: str, framing: str) -> None:
    """Whatever the upstream has been sent of it, it was no whole request."""
    scene.upstream.asked.clear()
    body = payload(plane, "smuggled")
    whole = {
        "length": message(*lines(plane), f"Content-Length: {len(body)}", body=body),
        "chunked": message(*lines(plane), "Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n0\r\n" % (len(body), body)),
    }[framing]
    for at in (1, 20, whole.index(b"\r\n\r\n") + 2, whole.index(b"\r\n\r\n") + 4, len(whole) - 3, len(whole) - 1):
        async with scene.connect() as client:
            await client.send(whole[:at])
            HOWS[how](client)
            if how == "shut":
                await client.ended()
    await scene.assert_alive()
    assert scene.reached() == []


async def test_a_get_whose_client_shuts_its_side_at_once(scene: Scene) -> None:
    """It may be answered or not; nginx does where it has the answer by then."""
    async with scene.connect() as client:
        await client.send(got())
        client.shut()
        try:
            async with asyncio.timeout(90):
                while await client.receive():
                    pass
        finally:
            await scene.assert_alive()


async def test_what_stands_behind_a_running_stream_waits_for_its_turn(scene: Scene) -> None:
    scene.upstream.asked.clear()
    scene.upstream.go_on.clear()
    async with scene.connect() as client:
        await client.send(asked("hold", stream=True) + posted("api", "behind") + got())
        answer = await client.head("POST")
        assert b"hold" in await client.piece()
        async with scene.connect() as other:  # meanwhile others are answered
            await other.send(posted("api", "other"))
            assert b"other" in (await other.answer("POST")).body
        assert scene.upstream.words == ["hold", "other"]
        scene.upstream.go_on.set()
        while piece := await client.piece():
            answer.body += piece
        assert answer.body.endswith(b"data: [DONE]\n\n") and b"behind" not in answer.body
        assert b"behind" in (await client.answer("POST")).body
        assert b'"status"' in (await client.answer()).body
    assert scene.reached() == ["hold", "other", "behind"]
    await scene.assert_alive()


async def test_garbage_behind_a_running_stream_ends_the_connection_after_it(scene: Scene) -> None:
    scene.upstream.asked.clear()
    scene.upstream.go_on.clear()
    async with scene.connect() as client:
        await client.send(asked("hold", stream=True) + b"\x00garbage\r\n\r\n" + posted("api", "smuggled"))
        answer = await client.head("POST")
        assert b"hold" in await client.piece()
        scene.upstream.go_on.set()
        while piece := await client.piece():
            answer.body += piece
        assert answer.body.endswith(b"data: [DONE]\n\n")
        refusal = await client.answer()
        assert refusal.status == 400 and refusal.closes
        await client.ended()
    assert scene.reached() == ["hold"]
    await scene.assert_alive()


async def test_many_that_leave_at_once_leave_nothing(scene: Scene) -> None:
    scene.upstream.asked.clear()
    before = scene.upstream.given_up

    async def one(number: int) -> None:
        async with scene.connect() as client:
            await client.send(asked("silent", stream=bool(number % 2)))
            await until(lambda: len(scene.upstream.asked) == 50)
            (client.reset if number % 3 else client.shut)()

    await asyncio.gather(*(one(number) for number in range(50)))
    await until(lambda: scene.upstream.given_up == before + 50, lambda: f"50 more than {before}: {scene.upstream}")
    scene.reached()
    await scene.assert_alive()
