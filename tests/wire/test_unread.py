"""Clients that read nothing: they hold up themselves alone, and the server keeps little for them.

That a server takes nothing more is seen by what happens meanwhile: others are answered many times, and it has not.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.programs import until
from tests.wire.raw_client import RawClient
from tests.wire.rows import chat, got, lines, message, posted
from tests.wire.scene import Scene

MIB = 1024 * 1024
KERNEL_BYTES = 32 * MIB  # what the buffers of three sockets may hold at most, and a little
_SMALL_BYTES = 4096
_MEANWHILE = 20


def flood() -> bytes:
    body = chat("flood", stream=True)
    return message(*lines("api"), f"Content-Length: {len(body)}", body=body)


async def others_are_answered(scene: Scene) -> None:
    for _ in range(_MEANWHILE):
        async with scene.connect() as client:
            await client.send(posted("api", "other") + got())
            assert (await client.answer("POST")).status == 200
            assert (await client.answer()).status == 200


async def test_a_stream_that_is_not_read_pauses_its_upstream_and_nobody_else(scene: Scene) -> None:
    seen = scene.upstream
    async with scene.connect(_SMALL_BYTES) as client:
        await client.send(flood())
        so_far = -1
        while so_far < seen.flooded:
            so_far = seen.flooded
            await others_are_answered(scene)
            assert so_far < KERNEL_BYTES
        assert seen.paused == 1
        read = 0
        while seen.flooded == so_far:  # it goes on once there is room
            read += len(await client.receive())
            assert read <= KERNEL_BYTES
    await scene.assert_alive()
    scene.reached()


async def test_of_two_streams_the_one_that_is_read_goes_on(scene: Scene) -> None:
    seen = scene.upstream
    async with scene.connect(_SMALL_BYTES) as slow, scene.connect() as quick:
        await slow.send(flood())
        await until(lambda: seen.paused == 1, lambda: "the upstream to be paused")
        await quick.send(flood())
        read = 0
        while read < 2 * KERNEL_BYTES:
            read += len(await quick.receive())
    await scene.assert_alive()
    scene.reached()


async def test_a_reader_who_never_reads_and_leaves(scene: Scene) -> None:
    seen = scene.upstream
    before = seen.given_up
    async with scene.connect(_SMALL_BYTES) as client:
        await client.send(flood())
        await until(lambda: seen.paused == 1, lambda: "the upstream to be paused")
        client.reset()
        await until(lambda: seen.given_up == before + 1, lambda: "the upstream's stream to be given up")
    await scene.assert_alive()
    scene.reached()


REQUESTS = {
    "get": got(),
    "api": posted("api", "w"),
    "api, refused": message(*lines("api"), "Content-Length: 2", body=b"{}"),
    "proxy": posted("proxy", "w" * 1000),
    "not found": got(target="/nothing"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_requests_without_end_whose_answers_are_not_read(scene: Scene, name: str) -> None:
    """It stops reading requests, too; and once it is read from, it goes on where it was."""
    async with scene.connect(_SMALL_BYTES) as client:
        await taken_until_it_stops(scene, client, REQUESTS[name])
        for _ in range(500):
            assert (await client.answer()).status in (200, 400, 404)
    scene.reached()
    await scene.assert_alive()


async def taken_until_it_stops(scene: Scene, client: RawClient, request: bytes) -> None:
    """Send requests until the server takes no more for as long as others are answered many times."""
    piece = request * (64 * 1024 // len(request) + 1)
    sent, left, stuck = 0, b"", 0
    while stuck < 3:
        left = left or piece
        if taken := client.send_now(left):
            sent, left, stuck = sent + taken, left[taken:], 0
            assert sent < KERNEL_BYTES, "it takes requests without end"
            await asyncio.sleep(0)
        else:
            await others_are_answered(scene)
            stuck += 1


async def test_a_body_that_nobody_reads_for_now(scene: Scene) -> None:
    """A request behind a stream sends its body: it has to wait, and is whole in the end."""
    scene.upstream.asked.clear()
    scene.upstream.go_on.clear()
    body = chat("hold", stream=True)
    held = message(*lines("api"), f"Content-Length: {len(body)}", body=body)
    large = posted("api", "word" * 2 * MIB)
    async with scene.connect() as client:
        await client.send(held)
        answer = await client.head("POST")
        assert await client.piece()
        sending = asyncio.ensure_future(client.send(large + got()))
        await others_are_answered(scene)
        scene.upstream.go_on.set()
        while piece := await client.piece():
            answer.body += piece
        assert answer.body.endswith(b"[DONE]\n\n")
        assert b"word" in (await client.answer("POST")).body
        assert (await client.answer()).status == 200
        await sending
    assert [word for word in scene.reached() if word != "other"] == ["hold", "word" * 2 * MIB]
    await scene.assert_alive()
