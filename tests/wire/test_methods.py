"""Methods: what a path does not take is 405 and says what it does; what no server knows is refused whole."""

from __future__ import annotations

import pytest

from tests.wire.rows import CHAT, HEALTH, HOST, chat, got, message
from tests.wire.scene import Scene

KNOWN = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")  # RFC 9110, 15.5.6: 405
UNKNOWN = ("BREW", "GETT", "G", "get", "GET,POST", "M-SEARCHX")  # RFC 9110, 9.1: 501; nginx: 400 or 405
TUNNELS = ("CONNECT elsewhere.example:443", f"CONNECT {CHAT}", "CONNECT *", f"CONNECT http://a.example{HEALTH}")


@pytest.mark.parametrize("body", [b"", chat("smuggled")], ids=["no body", "a body"])
@pytest.mark.parametrize("method", KNOWN)
async def test_another_method_at_an_api_path(scene: Scene, method: str, body: bytes) -> None:
    lengths = (f"Content-Length: {len(body)}", "Content-Type: application/json") if body else ()
    await _not_allowed(scene, method, message(f"{method} {CHAT} HTTP/1.1", HOST, *lengths, body=body), "POST")


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_another_method_at_another_path(scene: Scene, method: str) -> None:
    await _not_allowed(scene, method, message(f"{method} {HEALTH} HTTP/1.1", HOST), "GET, HEAD")


async def _not_allowed(scene: Scene, method: str, raw: bytes, allowed: str) -> None:
    scene.upstream.asked.clear()
    async with scene.connect() as client:
        await client.send(raw + got())
        answer = await client.answer(method)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        if method == "HEAD":
            assert not answer.body
        else:
            assert answer.error["code"] == "method_not_allowed"
        if answer.closes:  # it may, where it has not read the body
            await client.ended()
        else:
            assert (await client.answer()).status == 200
    assert scene.reached() == []
    await scene.assert_alive()


async def test_head_is_get_without_the_body(scene: Scene) -> None:
    async with scene.connect() as client:
        await client.send(message(f"HEAD {HEALTH} HTTP/1.1", HOST) + got())
        answer = await client.answer("HEAD")
        assert (answer.status, bytes(answer.body), answer.closes) == (200, b"", False)
        assert int(answer.headers["content-length"]) == len((await client.answer()).body)  # RFC 9110, 8.6
    await scene.assert_alive()


@pytest.mark.parametrize("line", [f"{method} {HEALTH}" for method in UNKNOWN] + list(TUNNELS))
async def test_a_method_that_is_unknown_or_asks_for_a_tunnel(scene: Scene, line: str) -> None:
    scene.upstream.asked.clear()
    async with scene.connect() as client:
        await client.send(message(f"{line} HTTP/1.1", HOST) + got())
        answer = await client.answer()
        assert answer.status in (400, 405, 501) and answer.closes, answer
        assert answer.error["code"]
        await client.ended()
    await scene.assert_alive()


async def test_options_of_the_whole_server(scene: Scene) -> None:
    """RFC 9112, 3.2.4. There is nothing to say of it; nginx: 400."""
    async with scene.connect() as client:
        await client.send(message("OPTIONS * HTTP/1.1", HOST) + got())
        answer = await client.answer()
        assert (answer.status, answer.error["code"]) == (404, "unknown_url")
        assert (await client.answer()).status == 200
    await scene.assert_alive()


PATHS = {  # of targets that are well-formed: what is at them
    "/v1%2fchat/completions": 404,
    "/v1/chat/completions/": 404,
    "//v1/chat/completions": 404,
    "/v1/./chat/completions": 404,
    "/v1/models/../chat/completions": 405,  # a model of an odd name
    "/V1/chat/completions": 404,
    "/v1/chat/completions;a=b": 404,
    "/v1/chat/completions%00": 404,
    "/v1/chat/completions%0d%0a": 404,
    "/v1/chat%c3%28": 404,
    "/%zz": 404,
    "/v1-openai/chat/completions": 200,
    "/v1/ch%61t/completions": 200,
    "http://elsewhere.example/v1/chat/completions": 200,
    "http://elsewhere.example": 404,
    "/vm/nobody/v1/chat/completions": 404,
    "/vm/%2e%2e/v1/chat/completions": 404,
    "/vm//v1/chat/completions": 404,
}


@pytest.mark.parametrize("target", PATHS)
async def test_only_what_names_a_path_reaches_it(scene: Scene, target: str) -> None:
    scene.upstream.asked.clear()
    body = chat("word")
    lengths = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    async with scene.connect() as client:
        await client.send(message(f"POST {target} HTTP/1.1", HOST, *lengths, body=body) + got())
        answer = await client.answer("POST")
        assert answer.status == PATHS[target], answer
        assert answer.status == 200 or answer.error["code"]
        if not answer.closes:
            assert (await client.answer()).status == 200
    assert scene.reached() == (["word"] if PATHS[target] == 200 else [])
    await scene.assert_alive()
