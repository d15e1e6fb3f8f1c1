"""`Call.read`: what is taken, what is refused and how, asked over a real connection."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from relay.call import BodyLimits, Call
from relay.endpoints import CHAT, COMPLETIONS, Endpoint
from relay.wire.inbound import Inbound
from relay.wire.routes import Handler
from tests.relay.serving import LIMIT_BYTES, Served, serving

JSON = {"Content-Type": "application/json"}
GOOD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
PROMPT: dict[str, Any] = {"model": "m", "prompt": "Once"}


def _reader(endpoint: Endpoint) -> Handler:
    async def handle(inbound: Inbound) -> None:
        call = await Call.read(inbound, endpoint, BodyLimits(LIMIT_BYTES))
        told = {"model": call.model, "stream": call.stream, "endpoint": call.endpoint.name, "id": call.request_id}
        told |= {"fallbacks": call.fallbacks, "body": call.body.decode()}
        inbound.respond(200, JSON, orjson.dumps(told))

    return handle


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving([], {"/chat": _reader(CHAT), "/completions": _reader(COMPLETIONS)}) as made:
        yield made


async def _read(
    session: aiohttp.ClientSession, served: Served, raw: Any, path: str = "/chat", **headers: str
) -> tuple[int, Any]:
    async with session.post(served.url + path, data=raw, headers={**JSON, **headers}) as response:
        return response.status, await response.json()


async def test_the_body_travels_as_it_came(served: Served, session: aiohttp.ClientSession) -> None:
    raw = b'{ "stream":true, "messages":[{"role":"user","content":"\\u4f60"}],\n "model" : "m@abcdef01", "own": 1.50}'
    status, call = await _read(session, served, raw, **{"X-Request-Id": "mine"})
    assert status == 200
    assert call == {
        "model": "m@abcdef01",
        "stream": True,
        "endpoint": "chat.completions",
        "id": "mine",
        "fallbacks": [],
        "body": raw.decode(),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": None},
        {"stream": False},
        {"messages": [{"role": "assistant", "tool_calls": []}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"temperature": 1, "top_p": 0.5, "max_tokens": None, "seed": -1, "stop": "x"},
        {"stop": ["a", "b"], "logit_bias": {"1": -100}, "response_format": {"type": "json_object"}, "tools": []},
        {"mirostat": 2, "min_p": 0.1, "grammar": "root ::= [a]", "samplers": ["top_k"], "anything": {"goes": []}},
    ],
)
async def test_good_bodies_are_taken(served: Served, session: aiohttp.ClientSession, changes: dict[str, Any]) -> None:
    status, answer = await _read(session, served, orjson.dumps({**GOOD, **changes}))
    assert status == 200, answer


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"model": None}, "model", "missing_model"),
        ({"model": ""}, "model", "invalid_type"),
        ({"model": 7}, "model", "invalid_type"),
        ({"model": ["m"]}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_messages"),
        ({"messages": []}, "messages", "missing_messages"),
        ({"messages": "Hello"}, "messages", "missing_messages"),
        ({"messages": ["Hello"]}, "messages[0]", "invalid_type"),
        ({"messages": [GOOD["messages"][0], {"content": "x"}]}, "messages[1].role", "missing_role"),
        ({"messages": [{"role": 1, "content": "x"}]}, "messages[0].role", "missing_role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream": 1}, "stream", "invalid_type"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"max_tokens": "many"}, "max_tokens", "invalid_type"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"n": 0}, "n", "invalid_type"),
        ({"stop": [1]}, "stop", "invalid_type"),
        ({"tools": "all"}, "tools", "invalid_type"),
        ({"response_format": "json"}, "response_format", "invalid_type"),
        ({"stream_options": True}, "stream_options", "invalid_type"),
    ],
)
async def test_a_bad_field_is_named(
    served: Served, session: aiohttp.ClientSession, changes: dict[str, Any], param: str, code: str
) -> None:
    body = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    status, answer = await _read(session, served, orjson.dumps(body))
    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, param, code)
    assert answer["error"]["type"] == "invalid_request_error"


EIGHT = [f"m{number}" for number in range(8)]


@pytest.mark.parametrize(
    ("named", "model", "fallbacks"),
    [
        ({"model": "m", "models": ["m", "n"]}, "m", ["n"]),
        ({"model": "m", "models": ["n", "o"]}, "m", ["n", "o"]),
        ({"model": "m", "models": ["n", "m", "n", "o"]}, "m", ["n", "o"]),
        ({"model": "m", "models": ["m", "m"]}, "m", []),
        ({"model": "m", "models": EIGHT}, "m", EIGHT),
        ({"model": "m", "models": []}, "m", []),
        ({"model": "m", "models": None}, "m", []),
        ({"models": ["m", "n@2f6e4a1c", "\u4f60", "m"]}, "m", ["n@2f6e4a1c", "\u4f60"]),
        ({"models": ["m"]}, "m", []),
    ],
)
async def test_fallback_models_come_after_the_model_each_once(
    served: Served, session: aiohttp.ClientSession, named: dict[str, Any], model: str, fallbacks: list[str]
) -> None:
    raw = orjson.dumps({"messages": GOOD["messages"], **named})
    status, call = await _read(session, served, raw)
    assert status == 200, call
    assert (call["model"], call["fallbacks"], call["body"]) == (model, fallbacks, raw.decode())


@pytest.mark.parametrize(
    ("named", "param", "code"),
    [
        ({"model": "m", "models": "n"}, "models", "invalid_type"),
        ({"model": "m", "models": {"n": 1}}, "models", "invalid_type"),
        ({"model": "m", "models": True}, "models", "invalid_type"),
        ({"model": "m", "models": [*EIGHT, "n"]}, "models", "invalid_type"),
        ({"model": "m", "models": ["m"] * 9}, "models", "invalid_type"),
        ({"model": "m", "models": ["n", ""]}, "models[1]", "invalid_type"),
        ({"model": "m", "models": ["n", None]}, "models[1]", "invalid_type"),
        ({"model": "m", "models": [["n"]]}, "models[0]", "invalid_type"),
        ({"model": 7, "models": ["n"]}, "model", "invalid_type"),
        ({"model": "", "models": ["n"]}, "model", "invalid_type"),
        ({"model": None, "models": ["n"]}, "model", "missing_model"),
        ({"models": []}, "model", "missing_model"),
        ({"models": None}, "model", "missing_model"),
    ],
)
async def test_bad_fallback_models_are_named(
    served: Served, session: aiohttp.ClientSession, named: dict[str, Any], param: str, code: str
) -> None:
    status, answer = await _read(session, served, orjson.dumps({"messages": GOOD["messages"], **named}))
    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, param, code)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{nope", b"[1, 2]", b"null", b'"text"', b"\xff\xfe", b'{"model": "m\xff"}', b'{"a": NaN}',
     rb'{"model": "\ud800"}', b"[" * 2000 + b"]" * 2000, b'{"a": ' * 600],
    ids=str,
)  # fmt: skip
async def test_what_is_no_json_object_is_400(served: Served, session: aiohttp.ClientSession, raw: bytes) -> None:
    status, answer = await _read(session, served, raw)
    assert (status, answer["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("prompt", "good"),
    [("x", True), ("", True), (["a", "b"], True), ([1, 2], True), (7, False), ([], False), ({}, False)],
)
async def test_prompts(served: Served, session: aiohttp.ClientSession, prompt: Any, good: bool) -> None:
    status, answer = await _read(session, served, orjson.dumps({**PROMPT, "prompt": prompt}), "/completions")
    assert status == (200 if good else 400)
    if not good:
        assert answer["error"]["param"] == "prompt"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_other_content_types_are_415(served: Served, session: aiohttp.ClientSession, kind: str) -> None:
    status, answer = await _read(session, served, orjson.dumps(GOOD), **{"Content-Type": kind})
    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
    assert "application/json" in answer["error"]["message"]


async def test_json_may_name_its_charset(served: Served, session: aiohttp.ClientSession) -> None:
    status, _ = await _read(session, served, orjson.dumps(GOOD), **{"Content-Type": "application/json; charset=utf-8"})
    assert status == 200


async def test_a_declared_length_over_the_limit_is_413_before_the_body_comes(served: Served) -> None:
    head = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = await served.send(head + b"Content-Length: %d\r\n\r\n" % (LIMIT_BYTES + 1))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"body_too_large"' in answer


async def test_a_chunked_body_over_the_limit_is_413_while_it_comes(served: Served) -> None:
    head = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    answer = await served.send(head + b"Connection: close\r\n\r\n" + chunk * 6)  # and no last chunk
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"body_too_large"' in answer


async def test_a_chunked_body_within_the_limit_is_taken(served: Served, session: aiohttp.ClientSession) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        raw = orjson.dumps(GOOD)
        yield raw[:10]
        yield raw[10:]

    status, call = await _read(session, served, pieces())
    assert status == 200
    assert call["body"] == orjson.dumps(GOOD).decode()


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "foo", "GZIP", "identity, gzip"])
async def test_encoded_bodies_are_415_before_they_come(served: Served, coding: str) -> None:
    head = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = await served.send(head + b"Content-Encoding: %s\r\nContent-Length: 100\r\n\r\n" % coding.encode())
    assert answer.startswith(b"HTTP/1.1 415"), answer
    assert b'"code":"unsupported_encoding"' in answer


async def test_a_compressed_body_is_not_taken_and_identity_is(served: Served, session: aiohttp.ClientSession) -> None:
    raw = orjson.dumps(GOOD)
    status, answer = await _read(session, served, gzip.compress(raw), **{"Content-Encoding": "gzip"})
    assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")
    status, _ = await _read(session, served, raw, **{"Content-Encoding": "identity"})
    assert status == 200


@pytest.mark.parametrize(
    "tail", [b"zz\r\n{}\r\n0\r\n\r\n", b"5\r\n{}\r\n0\r\n\r\n"], ids=["no length", "a wrong length"]
)
async def test_broken_framing_is_400(served: Served, tail: bytes) -> None:
    head = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    answer = await served.send(head + b"Connection: close\r\n\r\n" + tail)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), answer
    assert b'"error"' in answer
