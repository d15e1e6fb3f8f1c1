"""Bad input: each kind has its status and OpenAI's envelope, none is a 500, none reaches the engine."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
import pytest

from tests.stack import MODEL, Stack

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
GOOD: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


def _with(**changes: Any) -> bytes:
    return orjson.dumps({key: value for key, value in {**GOOD, **changes}.items() if value is not ...})


BAD = {
    "not JSON": ("POST", CHAT, JSON, b"{nope", 400),
    "an empty body": ("POST", CHAT, JSON, b"", 400),
    "JSON that is no object": ("POST", CHAT, JSON, b"[1, 2]", 400),
    "invalid UTF-8": ("POST", CHAT, JSON, _with().replace(b"Hello", b"H\xff\xfe"), 400),
    "a lone surrogate": ("POST", CHAT, JSON, _with().replace(b"Hello", rb"\ud800"), 400),
    "10,000 nested arrays": ("POST", CHAT, JSON, _with(deep="@").replace(b'"@"', b"[" * 10_000 + b"]" * 10_000), 400),
    "nested as deep as the parser goes": (
        "POST",
        CHAT,
        JSON,
        _with(deep="@").replace(b'"@"', b"[" * 900 + b"]" * 900),
        0,
    ),
    "no model": ("POST", CHAT, JSON, _with(model=...), 400),
    "a model that is a number": ("POST", CHAT, JSON, _with(model=7), 400),
    "an unknown model": ("POST", CHAT, JSON, _with(model="nobody-has-this"), 404),
    "a bad digest": ("POST", CHAT, JSON, _with(model=f"{MODEL}@zz"), 400),
    "no messages": ("POST", CHAT, JSON, _with(messages=...), 400),
    "messages that are empty": ("POST", CHAT, JSON, _with(messages=[]), 400),
    "messages that are text": ("POST", CHAT, JSON, _with(messages="hi"), 400),
    "a message that is text": ("POST", CHAT, JSON, _with(messages=["hi"]), 400),
    "a message without role": ("POST", CHAT, JSON, _with(messages=[{"content": "hi"}]), 400),
    "a role that is a number": ("POST", CHAT, JSON, _with(messages=[{"role": 1, "content": "hi"}]), 400),
    "content that is a number": ("POST", CHAT, JSON, _with(messages=[{"role": "user", "content": 5}]), 400),
    "content parts without type": ("POST", CHAT, JSON, _with(messages=[{"role": "user", "content": [{}]}]), 400),
    "a picture for a model that sees none": (
        "POST",
        CHAT,
        JSON,
        _with(
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]}]
        ),
        400,
    ),
    "an unknown content part": (
        "POST",
        CHAT,
        JSON,
        _with(messages=[{"role": "user", "content": [{"type": "?"}]}]),
        400,
    ),
    "stream that is text": ("POST", CHAT, JSON, _with(stream="yes"), 400),
    "max_tokens that is text": ("POST", CHAT, JSON, _with(max_tokens="many"), 400),
    "temperature that is text": ("POST", CHAT, JSON, _with(temperature="hot"), 400),
    "top_k that is text": ("POST", CHAT, JSON, _with(top_k="all"), 400),
    "n of zero": ("POST", CHAT, JSON, _with(n=0), 400),
    "a grammar that is none": ("POST", CHAT, JSON, _with(grammar="root ::= ("), 400),
    "a JSON schema that is none": (
        "POST",
        CHAT,
        JSON,
        _with(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}),
        400,
    ),
    "tools that are text": ("POST", CHAT, JSON, _with(tools="all"), 400),
    "a prompt beyond the context": (
        "POST",
        CHAT,
        JSON,
        _with(messages=[{"role": "user", "content": "a b " * 60_000}]),
        400,
    ),
    "a body over the limit": ("POST", CHAT, JSON, b"x" * (33 * 1024 * 1024), 413),
    "the wrong method": ("GET", CHAT, {}, None, 405),
    "another wrong method": ("DELETE", "/v1/models", {}, None, 405),
    "an unknown path": ("POST", "/v1/nothing", JSON, _with(), 404),
    "no path": ("GET", "/", {}, None, 404),
    "a form": ("POST", CHAT, {"Content-Type": "application/x-www-form-urlencoded"}, _with(), 415),
    "plain text": ("POST", CHAT, {"Content-Type": "text/plain"}, _with(), 415),
    "completions without prompt": ("POST", "/v1/completions", JSON, orjson.dumps({"model": MODEL}), 400),
    "a prompt that is a number": ("POST", "/v1/completions", JSON, orjson.dumps({"model": MODEL, "prompt": 7}), 400),
    "slots": ("GET", "/slots", {}, None, 404),
    "props": ("POST", "/props", JSON, b"{}", 404),
    "an unknown VM": ("POST", "/vm/nobody/v1/chat/completions", JSON, _with(), 404),
}


@pytest.mark.parametrize("where", ["gateway", "node"])
@pytest.mark.parametrize("name", BAD)
async def test_bad_input(keyless_stack: Stack, session: aiohttp.ClientSession, where: str, name: str) -> None:
    method, path, headers, body, status = BAD[name]
    if (where, name) == ("node", "a bad digest"):
        status = 404  # a node serves what it has, and compares no operators' claims
    base = keyless_stack.gateway_url if where == "gateway" else keyless_stack.nodes[0].url
    async with session.request(method, base + path, data=body, headers=headers) as response:
        text = await response.read()
        assert response.headers["X-Request-Id"]
        assert "X-Content-Type-Options" in response.headers
        if not status:  # odd, and right
            assert response.status == 200, text
            return
        assert response.status == status, text
        assert response.content_type == "application/json"
        assert response.headers["Server"] == "waypost"
    error = orjson.loads(text)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["code"] is None or isinstance(error["code"], str)
    assert "Traceback" not in error["message"]
    async with session.post(base + CHAT, json=GOOD) as response:
        assert response.status == 200, "the engine is alive afterwards"
