"""Websockets through a gateway and a node to an engine: every message, and how each side ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.gateway.proxy_scene import BGE, Scene, proxy_scene, refused

TOO_LONG = 17 * 1024 * 1024


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with proxy_scene(tmp_path_factory.mktemp("proxy")) as made:
        yield made


def socket(scene: Scene, session: aiohttp.ClientSession, **more: Any) -> Any:
    return session.ws_connect(scene.url("/ws?a=%2F"), headers=BGE, **more)


async def test_messages_pass_both_ways_whatever_they_are(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with socket(scene, session, max_msg_size=0) as ws:
        await ws.send_str("grüße")
        assert await ws.receive_str() == "GRÜSSE"
        await ws.send_bytes(b"\x00\x01")
        assert await ws.receive_bytes() == b"\x01\x00"
        await ws.send_str("")
        assert await ws.receive_str() == ""
        await ws.send_str("long 3000000")
        assert await ws.receive_str() == "x" * 3_000_000
        for number in range(200):
            await ws.send_str(str(number))
        assert [await ws.receive_str() for _ in range(200)] == [str(number) for number in range(200)]


async def test_the_engine_sees_the_path_and_few_headers(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with socket(scene, session) as ws:
        await ws.send_str("who")
        seen = await ws.receive_json()
    assert seen["target"] == "/ws?a=/"
    assert not {"X-GPUStack-Model", "X-Waypost-Model", "X-Waypost-Token", "Authorization", "Cookie"} & set(
        seen["headers"]
    )


async def test_the_engine_chooses_the_subprotocol(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with socket(scene, session, protocols=["other", "echo.v1"]) as ws:
        assert ws.protocol == "echo.v1"
    async with socket(scene, session, protocols=["other"]) as ws:
        assert ws.protocol is None


async def test_pings_and_pongs_pass(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with socket(scene, session, autoping=False) as ws:
        await ws.ping(b"are you there")
        message = await ws.receive(timeout=10)
        assert (message.type, bytes(message.data)) == (WSMsgType.PONG, b"are you there")


async def test_a_close_of_the_engine_reaches_the_client(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with socket(scene, session, autoclose=False) as ws:
        await ws.send_str("close 4001 enough")
        message = await ws.receive(timeout=10)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4001, "enough")
    await scene.engine.has_open(0)


async def test_a_close_of_the_client_reaches_the_engine_and_its_last_words_the_client(
    scene: Scene, session: aiohttp.ClientSession
) -> None:
    async with socket(scene, session, autoclose=False) as ws:
        await ws.send_str("last words")
        assert await ws.receive_str() == "LAST WORDS"
        await ws.send_frame((4002).to_bytes(2) + b"bye", WSMsgType.CLOSE)
        assert (await ws.receive(timeout=10)).data == "goodbye"
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 4002)
    await scene.engine.has_open(0)


async def test_an_engine_that_vanishes_is_a_failure(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with socket(scene, session, autoclose=False) as ws:
        await ws.send_str("vanish")
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1011)


async def test_a_client_that_vanishes_ends_the_engines_side(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with aiohttp.ClientSession() as leaving:
        ws = await socket(scene, leaving)
        await ws.send_str("x")
        assert await ws.receive_str() == "X"
        await scene.engine.has_open(1)
        transport = ws.get_extra_info("socket")
        transport.shutdown(2)
    await scene.engine.has_open(0)


async def test_a_message_that_is_too_long_is_refused(scene: Scene, session: aiohttp.ClientSession) -> None:
    async with socket(scene, session, autoclose=False) as ws:
        with contextlib.suppress(ConnectionError):  # the connection may end while it is sent
            await ws.send_str("x" * TOO_LONG)
        message = await ws.receive(timeout=10)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.ERROR, WSMsgType.CLOSED)
        assert message.type is not WSMsgType.CLOSE or message.data == 1009
    async with socket(scene, session, autoclose=False, max_msg_size=0) as ws:
        await ws.send_str(f"long {TOO_LONG}")
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1009)
    await scene.engine.has_open(0)


async def test_a_refused_websocket_says_why(scene: Scene, session: aiohttp.ClientSession) -> None:
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    for path, headers, expected in (
        ("/secret", BGE, (403, "path_not_allowed")),
        ("/ws", {}, (400, "missing_model")),
        ("/echo/x", BGE, (502, "upstream_handshake")),
        ("/ws", {**BGE, "Sec-WebSocket-Version": "1"}, (400, "invalid_handshake")),
    ):
        async with session.get(scene.url(path), headers={**upgrade, **headers}) as response:
            found = await refused(response)
            assert found[:2] == expected, found
