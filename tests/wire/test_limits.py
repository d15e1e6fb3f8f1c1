"""Limits on what one request may bring: it is refused once it is over them, and its client can read why.

Each attack here has no end but the server's answer; what the server takes until then is bounded.
"""

from __future__ import annotations

import pytest

from tests.wire.endless import BODIES, HEADS, endless_body, endless_head, pour, repeated
from tests.wire.rows import HOST, PLANES, chat, lines, message, payload, posted
from tests.wire.scene import Scene

MIB = 1024 * 1024
IMAGES = ("POST /v1/images/generations HTTP/1.1", HOST, "Content-Type: application/json")  # 1 MiB at most


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_without_an_end(scene: Scene, name: str) -> None:
    """431 or 414 by RFC 9110, or 400 as nginx has it; not after megabytes."""
    async with scene.connect() as client:
        answer = await endless_head(client, name)
        assert answer.status in (400, 414, 431) and answer.closes, answer
        assert answer.error["message"]
        await client.ended()
    await scene.assert_alive()


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("name", BODIES)
async def test_what_a_chunked_body_says_without_an_end(scene: Scene, plane: str, name: str) -> None:
    """RFC 9112, 7.1.1 and 7.1.2: all that is no data has a limit too."""
    scene.upstream.asked.clear()
    async with scene.connect() as client:
        answer = await endless_body(client, plane, name)
        assert answer.status in (400, 413, 431) and answer.closes, answer
        await client.ended()
    assert scene.reached() == []
    await scene.assert_alive()


@pytest.mark.parametrize("size", [MIB + 1, 1024**3, 2**62, 2**63 - 1])
async def test_a_length_over_the_limit_is_refused_by_its_head(scene: Scene, size: int) -> None:
    async with scene.connect() as client:
        await client.send(message(*IMAGES, f"Content-Length: {size}"))
        answer = await client.answer("POST")
        assert (answer.status, answer.error["code"], answer.closes) == (413, "body_too_large", True)
        await client.ended()
    await scene.assert_alive()


async def test_a_body_over_the_limit_whose_length_is_not_told(scene: Scene) -> None:
    async with scene.connect() as client:
        await client.send(message(*IMAGES, "Transfer-Encoding: chunked"))
        answer = await pour(client, repeated(b"400\r\n" + b"x" * 1024 + b"\r\n"))
        assert (answer.status, answer.error["code"], answer.closes) == (413, "body_too_large", True)
        await client.ended()
    await scene.assert_alive()


@pytest.mark.parametrize("size", [b"8000000000000000", b"7fffffffffffffff", b"ffffffffffffffff", b"fffffffff"])
async def test_a_chunk_that_has_no_end_is_a_body_over_the_limit(scene: Scene, size: bytes) -> None:
    async with scene.connect() as client:
        await client.send(message(*IMAGES, "Transfer-Encoding: chunked", body=size + b"\r\n"))
        answer = await pour(client, repeated(b"x"))
        assert answer.status in (400, 413) and answer.closes, answer
        await client.ended()
    await scene.assert_alive()


async def test_a_body_of_a_chunk_for_each_byte(scene: Scene) -> None:
    """It is a good request, however dear to read."""
    scene.upstream.asked.clear()
    body = chat("word" * 10_000)
    async with scene.connect() as client:
        raw = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        await client.send(message(*lines("api"), "Transfer-Encoding: chunked", body=raw) + posted("api", "next"))
        assert (await client.answer("POST")).status == 200
        assert (await client.answer("POST")).status == 200
    assert scene.reached() == ["word" * 10_000, "next"]
    await scene.assert_alive()


@pytest.mark.parametrize("how", ["length", "chunked", "no HTTP"])
async def test_a_client_that_reads_only_once_it_has_sent_all_reads_why(scene: Scene, how: str) -> None:
    """A server that closed with bytes unread would take back its answer: RFC 9112, 9.6; nginx lingers."""
    body = b"x" * (8 * MIB)
    raw = {
        "length": message(*IMAGES, f"Content-Length: {len(body)}", body=body),
        "chunked": message(*IMAGES, "Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)),
        "no HTTP": message("BREW / HTTP/1.1", HOST, body=body),
    }[how]
    async with scene.connect() as client:
        await client.send(raw)
        assert not client.broken_pipe
        answer = await client.answer("POST")
        assert answer.status == (400 if how == "no HTTP" else 413) and answer.closes, answer
        await client.ended()
    await scene.assert_alive()


@pytest.mark.parametrize("plane", PLANES)
async def test_large_bodies_pass_whole(scene: Scene, plane: str) -> None:
    scene.upstream.asked.clear()
    word = "word" * (MIB // 2)
    raw = posted(plane, word)
    async with scene.connect() as client:
        for _ in range(2):
            await client.send(raw, list(range(0, len(raw), 100_000)))
            assert word.encode() in (await client.answer("POST")).body
    assert scene.reached() == [word, word]
    assert payload("proxy", "word") == b"word"
    await scene.assert_alive()
