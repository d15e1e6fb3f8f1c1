"""Which connection is kept after an answer, and what clients of HTTP/1.0 get. RFC 9112, sections 9.3 and 9.6."""

from __future__ import annotations

import pytest

from tests.wire.rows import CHAT, HEALTH, HOST, PLANES, chat, chunked, got, lines, message, payload, posted
from tests.wire.scene import Scene

OURS = ("api", "proxy", "get")
CLOSING = {
    "close": ("1.1", "Connection: close"),
    "other case": ("1.1", "CONNECTION: Close"),
    "close and keep-alive": ("1.1", "Connection: close, keep-alive"),
    "keep-alive and close": ("1.1", "Connection: keep-alive, close"),
    "in a list": ("1.1", "Connection: TE , close,x"),
    "in another line": ("1.1", "Connection: TE\r\nConnection: close"),
    "HTTP/1.0": ("1.0", "X: y"),
    "HTTP/1.0 and close": ("1.0", "Connection: close"),
}
KEEPING = {
    "nothing said": ("1.1", "X: y"),
    "keep-alive": ("1.1", "Connection: keep-alive"),
    "a word that begins alike": ("1.1", "Connection: closed"),
    "HTTP/1.0 and keep-alive": ("1.0", "Connection: keep-alive"),
    "HTTP/1.0 and keep-alive in another case": ("1.0", "connection: Keep-Alive"),
}


def asked(kind: str, word: str, version: str, header: str) -> bytes:
    return got(header, version=version) if kind == "get" else posted(kind, word, header, version=version)


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("how", CLOSING)
async def test_a_last_request_is_the_last(scene: Scene, kind: str, how: str) -> None:
    """What stands behind it is never read, be it a request or not."""
    for behind in (posted("api", "smuggled"), got(), b"\x00garbage\r\n\r\n", b"\r\n"):
        scene.upstream.asked.clear()
        async with scene.connect() as client:
            await client.send(asked(kind, "word", *CLOSING[how]) + behind)
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, True), answer
            await client.ended()
        assert scene.reached() == ([] if kind == "get" else ["word"])
    await scene.assert_alive()


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("how", KEEPING)
async def test_any_other_is_followed_by_the_next(scene: Scene, kind: str, how: str) -> None:
    scene.upstream.asked.clear()
    async with scene.connect() as client:
        for word in ("one", "two"):
            await client.send(asked(kind, word, *KEEPING[how]))
            answer = await client.answer()
            assert (answer.status, answer.closes) == (200, False), answer
            if KEEPING[how][0] == "1.0":
                assert answer.headers["connection"].lower() == "keep-alive"  # else such a client waits for the end
    assert scene.reached() == ([] if kind == "get" else ["one", "two"])
    await scene.assert_alive()


async def test_a_stream_to_a_client_of_http_1_0_ends_with_the_connection(scene: Scene) -> None:
    """No chunks, and no keep-alive: RFC 9112, 6.1 and 6.3."""
    body = chat("word", stream=True)
    for wish in ("Connection: keep-alive", "X: y"):
        raw = message(*lines("api", "1.0"), f"Content-Length: {len(body)}", wish, body=body)
        async with scene.connect() as client:
            await client.send(raw)
            answer = await client.answer("POST")
            assert answer.status == 200 and answer.closes, answer
            assert "transfer-encoding" not in answer.headers and "content-length" not in answer.headers
            assert answer.body.startswith(b"data: ") and answer.body.endswith(b"data: [DONE]\n\n")
    await scene.assert_alive()


async def test_a_stream_is_followed_by_the_next_request(scene: Scene) -> None:
    body = chat("word", stream=True)
    raw = message(*lines("api"), f"Content-Length: {len(body)}", body=body)
    async with scene.connect() as client:
        await client.send(raw + posted("api", "two") + raw + got())
        for end in (b"[DONE]\n\n", b"}", b"[DONE]\n\n", b"}"):
            answer = await client.answer("POST")
            assert (answer.status, answer.closes) == (200, False), answer
            assert answer.body.endswith(end), answer
    await scene.assert_alive()


@pytest.mark.parametrize("target", [HEALTH, "/nothing", "/model/proxy/nowhere", CHAT])
@pytest.mark.parametrize("wish", ["websocket", "WebSocket", "websocket, h2c", "h2c, websocket"])
async def test_a_websocket_that_is_not_opened_changes_nothing(scene: Scene, target: str, wish: str) -> None:
    """RFC 9110, 7.8: without a 101 it is HTTP/1.1 that goes on, read by the same rules, or nothing."""
    scene.upstream.asked.clear()
    coded = message(*lines("api"), "Transfer-Encoding: gzip, chunked", body=chunked(payload("api", "smuggled")))
    last = got("Connection: close")
    for behind, after in ((posted("api", "next") + last, [200, 200]), (coded + last, [400])):
        async with scene.connect() as client:
            await client.send(got("Connection: Upgrade", f"Upgrade: {wish}", target=target) + behind)
            first, *others = [answer.status for answer in await client.answers()]
            assert first in (200, 400, 404, 405)
            assert others in ([], after)
    assert "smuggled" not in scene.reached()
    await scene.assert_alive()


@pytest.mark.parametrize("plane", PLANES)
async def test_a_refusal_that_has_read_all_keeps_the_connection(scene: Scene, plane: str) -> None:
    """An error of the API is no error of the connection: 404 for an unknown model, and then on."""
    body = payload(plane, "word").replace(b'"m"', b'"nobody"')
    head = [line.replace(": m", ": nobody") for line in lines(plane)]
    async with scene.connect() as client:
        for _ in range(3):
            await client.send(message(*head, f"Content-Length: {len(body)}", body=body))
            answer = await client.answer("POST")
            assert (answer.status, answer.error["code"]) == (404, "model_not_found")
            if answer.closes:
                assert plane == "proxy"  # its body was still to be read
                await client.ended()
                break
        else:
            await client.send(got())
            assert (await client.answer()).status == 200
    await scene.assert_alive()


@pytest.mark.parametrize("plane", PLANES)
async def test_a_body_that_is_not_read_is_never_taken_for_a_request(scene: Scene, plane: str) -> None:
    """The refusal comes before its body is read: either that is skipped, or the connection ends."""
    scene.upstream.asked.clear()
    inside = posted("api", "smuggled") * 3
    head = [line.replace("Content-Type: ", "Content-Encoding: gzip\r\nContent-Type: ") for line in lines(plane)]
    raw = message(*head, f"Content-Length: {len(inside)}", body=inside)
    for cuts in ([], [len(raw) - len(inside)], [len(raw) - len(inside) // 3]):
        async with scene.connect() as client:
            await client.send(raw + got(), cuts)
            answer = await client.answer("POST")
            assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")
            if answer.closes:
                await client.ended()
            else:
                assert b'"status"' in (await client.answer()).body
    assert scene.reached() == []
    await scene.assert_alive()


@pytest.mark.parametrize("plane", PLANES)
async def test_a_trailer_that_asks_for_the_end(scene: Scene, plane: str) -> None:
    """RFC 9110, 6.5.1: it may not. Heeded or not, the request is answered, and what follows is no part of it."""
    scene.upstream.asked.clear()
    body = chunked(payload(plane, "word"))[:-2] + b"Connection: close\r\n\r\n"
    async with scene.connect() as client:
        await client.send(message(*lines(plane), "Transfer-Encoding: chunked", body=body) + got())
        answer = await client.answer("POST")
        assert (answer.status, b"word" in answer.body) == (200, True), answer
        if not answer.closes:
            assert (await client.answer()).status in (200, 400)
    assert scene.reached() == ["word"]
    await scene.assert_alive()


async def test_a_get_with_a_body_is_never_two_requests(scene: Scene) -> None:
    """RFC 9110, 9.3.1: a body means nothing there; nginx throws it away."""
    scene.upstream.asked.clear()
    inside = posted("api", "smuggled")
    for framing, body in (
        (f"Content-Length: {len(inside)}", inside),
        ("Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(inside), inside)),
    ):
        raw = message(f"GET {HEALTH} HTTP/1.1", HOST, framing, body=body)
        for cuts in ([], [len(raw) - len(body)], list(range(len(raw)))):
            async with scene.connect() as client:
                await client.send(raw + got(), cuts)
                answer = await client.answer()
                assert answer.status == 200
                if answer.closes:
                    await client.ended()
                else:
                    assert (await client.answer()).status == 200
    assert scene.reached() == []
    await scene.assert_alive()
