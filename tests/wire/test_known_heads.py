"""Requests whose head is the same as the last one's, which the parser need not see, and what comes among them: all is
answered as on a connection that has seen nothing yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.wire.all_rows import ROWS
from tests.wire.raw_client import RawClient
from tests.wire.rows import PLANES, Row, got, lines, message, posted
from tests.wire.scene import Scene
from tests.wire.test_splits import TRAINS, train

GOOD = posted("api", "word-a")
HEAD_BYTES = GOOD.index(b"\r\n\r\n") + 4


@contextlib.asynccontextmanager
async def knowing(scene: Scene) -> AsyncIterator[RawClient]:
    """A client whose head is known."""
    async with scene.connect() as client:
        for _ in range(2):
            await client.send(GOOD)
            assert (await client.answer()).status == 200
        scene.reached()
        yield client


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_each_row_behind_a_known_head(scene: Scene, row: Row) -> None:
    async with knowing(scene) as client:
        await client.send(row.followed)
        answer = await client.answer()
        assert answer.status in row.statuses, (row, answer)
        assert answer.closes != row.taken, (row, answer)
        if row.taken:
            assert (await client.answer()).status == 200, row
        else:
            await client.ended()
    assert scene.reached() == ([row.word] if row.word else []), row


async def test_a_known_head_and_its_body_cut_anywhere(scene: Scene) -> None:
    raw = posted("api", "a-longer-word")
    for cut in range(1, len(raw)):
        async with knowing(scene) as client:
            await client.send(raw + GOOD, [cut])
            for word in (b"a-longer-word", b"word-a"):
                answer = await client.answer()
                assert answer.status == 200 and word in answer.body, (cut, answer)
    await scene.assert_alive()


async def test_a_packet_for_the_head_and_one_for_each_byte_of_the_body(scene: Scene) -> None:
    async with knowing(scene) as client:
        for word in ("a", "word-b", "word " * 40, "a"):
            raw = posted("api", word)
            await client.send(raw, range(HEAD_BYTES, len(raw)))
            answer = await client.answer()
            assert answer.status == 200 and word.encode() in answer.body, answer
            assert scene.reached() == [word]
    await scene.assert_alive()


@pytest.mark.parametrize("name", TRAINS)
async def test_trains_behind_a_known_head(scene: Scene, name: str) -> None:
    async with knowing(scene) as client:
        await client.send(train(TRAINS[name], "length"))
        for word in TRAINS[name]:
            answer = await client.answer()
            assert answer.status == 200 and word.encode() in answer.body, answer
    scene.reached()
    await scene.assert_alive()


@pytest.mark.parametrize("plane", PLANES)
async def test_other_requests_between_known_ones(scene: Scene, plane: str) -> None:
    between = [got(), posted(plane, "word-c", "X-More: 1"), GOOD, posted("api", "word-a", "X-Request-Id: mine")]
    async with knowing(scene) as client:
        for raw in between * 2:
            await client.send(raw)
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, False), (raw, answer)
            assert (answer.headers["x-request-id"] == "mine") is (b"mine" in raw), (raw, answer)
    scene.reached()
    await scene.assert_alive()


@pytest.mark.parametrize("digits", [b"0", b"5", b"9999999999", b"999999999", b"+5", b"5x", b"-1", b"5, 5", b""])
async def test_a_known_head_with_another_length(scene: Scene, digits: bytes) -> None:
    """It is answered what it is answered without."""
    start = GOOD.index(b"Content-Length: ") + len(b"Content-Length: ")
    raw = GOOD[:start] + digits + GOOD[GOOD.index(b"\r", start) :]
    async with knowing(scene) as client, scene.connect() as other:
        answers = []
        for each in (client, other):
            await each.send(raw)
            answers.append(await each.answer())
        assert [(a.status, a.closes, a.error["code"]) for a in answers[:1]] == [
            (a.status, a.closes, a.error["code"]) for a in answers[1:]
        ]
    assert scene.reached() == []
    await scene.assert_alive()


def _holding(*parts: bytes) -> tuple[bytes, bytes]:
    """The head of a request, and its body: these parts."""
    body = b"".join(parts)
    return message(*lines("proxy"), f"Content-Length: {len(body)}"), body


CHUNK = b"%x\r\n" % len(GOOD)
LOOKALIKES = {
    "a body": [*_holding(GOOD)],
    "the rest of a body": [_holding(b"1", GOOD)[0] + b"1", GOOD],
    "the body of the second in a packet": [got() + _holding(GOOD)[0], GOOD],
    "the body of the third in a packet": [got() + got() + _holding(b"1", GOOD)[0] + b"1", GOOD],
    "two of them as one body": [_holding(GOOD, GOOD)[0], GOOD, GOOD],
    "a body behind one that is as long as said": [posted("proxy", "x") + _holding(GOOD)[0], GOOD],
    "a chunk": [message(*lines("proxy"), "Transfer-Encoding: chunked") + CHUNK, GOOD, b"\r\n0\r\n\r\n"],
}


@pytest.mark.parametrize("name", LOOKALIKES)
async def test_what_looks_like_a_known_request_in_a_body_is_none(scene: Scene, name: str) -> None:
    packets = LOOKALIKES[name]
    async with knowing(scene) as client:
        for packet in packets:
            await client.send(packet)
        for _ in range(b"".join(packets).count(b"HTTP/1.1") - packets.count(GOOD)):
            assert (await client.answer()).status == 200
        await client.send(got("Connection: close"))
        assert (await client.answer()).closes
        await client.ended()
    assert all(word != "word-a" for word in scene.reached())
    await scene.assert_alive()


async def test_what_looks_like_a_known_request_in_a_head_is_none(scene: Scene) -> None:
    async with knowing(scene) as client:
        await client.send(b"GET /health HTTP/1.1\r\nHost: h\r\nX-One: ")
        await client.send(GOOD)
        answer = await client.answer()
        assert (answer.status, answer.closes) == (400, True), answer
        await client.ended()
    assert scene.reached() == []
    await scene.assert_alive()


async def test_a_client_that_leaves_in_the_body_behind_a_known_head(scene: Scene) -> None:
    async with knowing(scene) as client:
        await client.send(GOOD[:-5])
        client.reset()
    assert scene.reached() == []
    await scene.assert_alive()
