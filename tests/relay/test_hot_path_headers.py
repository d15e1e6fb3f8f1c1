"""Headers that cannot be written or said as they stand: they are answered, and nothing fails over them."""

from __future__ import annotations

import pytest

from relay.wire.inbound import Inbound
from tests.relay.hot_path import connected, hot_path, post
from tests.relay.wire.scene import run_on

loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@loops
@pytest.mark.parametrize(
    "raw", [post("/chat", b"", "Expect: {}"), b"GET /x HTTP/1.1\r\nHost: here\r\nExpect: {}\r\n\r\n"]
)
def test_an_expectation_of_no_characters_is_refused(loop: str, raw: bytes) -> None:
    async def chat(inbound: Inbound) -> None:
        raise AssertionError("it is asked nothing")

    async def scene() -> None:
        async with hot_path({"/chat": chat}) as serving, connected(serving.port) as client:
            await client.send(raw.replace(b"{}", b"\xff"))
            answer = await client.rest()
            assert answer.startswith(b"HTTP/1.1 400 ") and b'"invalid_http"' in answer

    run_on(loop)(scene())


@loops
@pytest.mark.parametrize("how", ["respond", "begin"])
def test_an_answer_whose_header_would_be_two_is_an_error_and_not_begun(loop: str, how: str) -> None:
    async def chat(inbound: Inbound) -> None:
        headers = {"X-Model": "m\r\nX-Other: smuggled"}
        if how == "respond":
            inbound.respond(200, headers, b"body")
        else:
            inbound.begin(200, headers, None)

    async def scene() -> None:
        async with hot_path({"/chat": chat}) as serving, connected(serving.port) as client:
            await client.send(post("/chat"))
            answer = await client.until(b"}}")
            assert answer.startswith(b"HTTP/1.1 500 ") and b"smuggled" not in answer

    run_on(loop)(scene())
