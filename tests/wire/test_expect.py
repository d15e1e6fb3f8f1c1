"""`Expect: 100-continue`: a 100 before the body is read, or the final answer in its place. RFC 9110, 10.1.1."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

from tests.wire.rows import CHAT, HOST, PLANES, chunked, got, lines, message, payload, posted
from tests.wire.scene import Scene
from tests.wire.scene import scene as make_scene

EXPECT = "Expect: 100-continue"
IMAGES = "/v1/images/generations"
MIB = 1024 * 1024
KEY = "wp-right"
PLANE = pytest.mark.parametrize("plane", PLANES)


@PLANE
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_that_waits_for_leave(scene: Scene, plane: str, framing: str) -> None:
    scene.upstream.asked.clear()
    async with scene.connect() as client:
        for word, expect in (("one", EXPECT), ("two", "EXPECT: 100-Continue")):
            body = payload(plane, word)
            how = f"Content-Length: {len(body)}" if framing == "length" else "Transfer-Encoding: chunked"
            await client.send(message(*lines(plane), how, expect))
            assert await client.interim() == 100
            await client.send(body if framing == "length" else chunked(body))
            answer = await client.answer("POST")
            assert (answer.status, answer.interim, answer.closes) == (200, [], False), answer
        await client.send(got())
        assert (await client.answer()).status == 200
    assert scene.reached() == ["one", "two"]
    await scene.assert_alive()


@PLANE
async def test_a_body_that_does_not_wait(scene: Scene, plane: str) -> None:
    """The 100 may be left out, and if there is one it comes first."""
    raw = posted(plane, "word", EXPECT)
    async with scene.connect() as client:
        for cuts in ([], list(range(len(raw)))):
            await client.send(raw + posted(plane, "next"), cuts)
            answer = await client.answer("POST")
            assert (answer.status, b"word" in answer.body) == (200, True), answer
            assert answer.interim in ([], [100])
            assert b"next" in (await client.answer("POST")).body
    scene.reached()
    await scene.assert_alive()


REFUSED = {
    "larger than any": ((*lines("api"), f"Content-Length: {32 * MIB + 1}"), 413),
    "larger than an image's": ((f"POST {IMAGES} HTTP/1.1", *lines("api")[1:], f"Content-Length: {MIB + 1}"), 413),
    "another type": ((f"POST {CHAT} HTTP/1.1", HOST, "Content-Type: text/plain", "Content-Length: 9"), 415),
    "compressed": ((*lines("api"), "Content-Encoding: gzip", "Content-Length: 9"), 415),
    "another method": ((f"PUT {CHAT} HTTP/1.1", HOST, "Content-Length: 9"), 405),
    "a broken length": ((*lines("api"), "Content-Length: +9"), 400),
}


UNREAD = {  # by the application, which may ask for the body first
    "larger than any upload": ((*lines("proxy"), f"Content-Length: {512 * MIB + 1}"), 413),
    "nothing there": (("POST /v1/nothing HTTP/1.1", HOST, "Content-Length: 9"), 404),
}


@pytest.mark.parametrize("name", UNREAD)
async def test_what_is_refused_elsewhere_closes_too(scene: Scene, name: str) -> None:
    head, status = UNREAD[name]
    async with scene.connect() as client:
        await client.send(message(*head, EXPECT))
        answer = await client.answer("POST")
        assert (answer.status, answer.closes) == (status, True), answer
        await client.ended()
    await scene.assert_alive()


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_by_its_head_gets_no_100(scene: Scene, name: str) -> None:
    """The body never comes, so the connection is of no more use."""
    head, status = REFUSED[name]
    async with scene.connect() as client:
        await client.send(message(*head, EXPECT))
        answer = await client.answer("POST")
        assert (answer.status, answer.interim, answer.closes) == (status, [], True), answer
        assert answer.error["message"]
        await client.ended()
    await scene.assert_alive()


async def test_the_largest_body_that_may_be_gets_its_100(scene: Scene) -> None:
    async with scene.connect() as client:
        await client.send(message(f"POST {IMAGES} HTTP/1.1", *lines("api")[1:], f"Content-Length: {MIB}", EXPECT))
        assert await client.interim() == 100
    await scene.assert_alive()


@pytest.mark.parametrize("kind", [*PLANES, "get"])
@pytest.mark.parametrize("value", ["a-miracle", "100-continue, a-miracle", "200-ok", "100-continue;q=1"])
async def test_another_expectation_cannot_be_met(scene: Scene, kind: str, value: str) -> None:
    """417, and never the answer; nginx knows no other one and ignores it."""
    scene.upstream.asked.clear()
    raw = got(f"Expect: {value}") if kind == "get" else posted(kind, "smuggled", f"Expect: {value}")
    async with scene.connect() as client:
        await client.send(raw)
        answer = await client.answer()
        assert (answer.status, answer.interim) == (417, []), answer
        assert answer.error["message"]
    assert scene.reached() == []
    await scene.assert_alive()


@pytest.mark.parametrize("kind", [*PLANES, "get"])
async def test_a_client_of_http_1_0_gets_no_100(scene: Scene, kind: str) -> None:
    raw = got(EXPECT, version="1.0") if kind == "get" else posted(kind, "word", EXPECT, version="1.0")
    head = raw.index(b"\r\n\r\n") + 4
    for cuts in ([], [head]):
        async with scene.connect() as client:
            await client.send(raw, cuts)
            answer = await client.answer()
            assert (answer.status, answer.interim, answer.closes) == (200, [], True), answer
    scene.reached()
    await scene.assert_alive()


@pytest.mark.parametrize("wrong", ["X: y", "Authorization: Bearer wp-wrong", "Authorization: Basic d3A6d3A="])
async def test_a_wrong_key_is_told_before_the_body(tmp_path: Path, wrong: str) -> None:
    entry = {"name": "right", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "created_at": 1}
    (tmp_path / "keys.json").write_bytes(orjson.dumps([entry]))
    async with make_scene(tmp_path, keys=tmp_path / "keys.json") as scene:
        async with scene.connect() as client:
            await client.send(message(*lines("api"), "Content-Length: 1000", EXPECT, wrong))
            answer = await client.answer("POST")
            assert (answer.status, answer.interim, answer.closes) == (401, [], True), answer
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.error["code"] in ("missing_api_key", "invalid_api_key")
            await client.ended()
        async with scene.connect() as client:
            body = payload("api", "word")
            right = f"Authorization: Bearer {KEY}"
            await client.send(message(*lines("api"), f"Content-Length: {len(body)}", EXPECT, right))
            assert await client.interim() == 100
            await client.send(body)
            assert (await client.answer("POST")).status == 200
        await scene.calm()
        assert scene.reached() == ["word"]
