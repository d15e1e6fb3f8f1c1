"""Bad input for embeddings: each kind has its status and OpenAI's envelope, and the engine lives on."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.stack import EMBEDDING_MODEL, MODEL, Stack

pytestmark = pytest.mark.engine
WORDS = "Hello world"
CHAT = "/v1/chat/completions"


def _body(**changes: Any) -> dict[str, Any]:
    given = {"model": EMBEDDING_MODEL, "input": WORDS, **changes}
    return {name: value for name, value in given.items() if value is not ...}


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no input": (_body(input=...), "input", "missing_input"),
    "0 items": (_body(input=[]), "input", "empty_input"),
    "10,000 items": (_body(input=["x"] * 10_000), "input", "too_many_inputs"),
    "an empty string": (_body(input=""), "input", "empty_input"),
    "an empty string among others": (_body(input=["x", ""]), "input[1]", "empty_input"),
    "a number": (_body(input=5), "input", "invalid_type"),
    "a mixture": (_body(input=["x", 5]), "input", "invalid_type"),
    "a negative token": (_body(input=[101, -1]), "input", "invalid_type"),
    "a token beyond the vocabulary": (_body(input=[101, 999_999]), "", "invalid_request"),
    "a token that would be cut to one": (_body(input=[101, 2**32 + 5]), "input", "invalid_type"),
    "negative dimensions": (_body(dimensions=-1), "dimensions", "invalid_dimensions"),
    "dimensions that are text": (_body(dimensions="many"), "dimensions", "invalid_dimensions"),
    "an unknown encoding": (_body(encoding_format="int8"), "encoding_format", "invalid_value"),
    "no encoding": (_body(encoding_format=None), "encoding_format", "invalid_value"),
    "a stream": (_body(stream=True), "stream", "invalid_value"),
    "too long an input": (_body(input="word " * 600), "input", "context_length_exceeded"),
    "too long an input among others": (_body(input=["x", "word " * 600, "y"]), "input", "context_length_exceeded"),
    "a very long input": (_body(input="word " * 200_000), "input", "context_length_exceeded"),
    "too many tokens": (_body(input=[7592] * 5000), "input", "context_length_exceeded"),
    "a model that chats": (_body(model=MODEL), "model", "unsupported_endpoint"),
}


@pytest.mark.parametrize("where", ["gateway", "node"])
@pytest.mark.parametrize("name", BAD)
async def test_bad_input(keyless_stack: Stack, session: aiohttp.ClientSession, where: str, name: str) -> None:
    body, param, code = BAD[name]
    base = keyless_stack.gateway_url if where == "gateway" else keyless_stack.nodes[0].url
    async with session.post(f"{base}/v1/embeddings", json=body) as response:
        error = (await response.json())["error"]
        assert response.status == 400, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == (param or None)
    assert error["code"] == code
    if code == "context_length_exceeded":
        assert "is too large to process" in error["message"], "the engine's own reason"
        assert "at most 512 tokens" in error["message"]
    async with session.post(f"{base}/v1/embeddings", json=_body()) as response:
        assert response.status == 200, "the engine is alive afterwards"


@pytest.mark.parametrize("where", ["gateway", "node"])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_an_embedding_model_does_not_chat(
    keyless_stack: Stack, session: aiohttp.ClientSession, where: str, path: str
) -> None:
    base = keyless_stack.gateway_url if where == "gateway" else keyless_stack.nodes[0].url
    asked = {"messages": [{"role": "user", "content": "Hello"}]} if path == CHAT else {"prompt": "Hello"}
    async with session.post(base + path, json={"model": EMBEDDING_MODEL, **asked}) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], error["param"]) == (400, "unsupported_endpoint", "model")
    assert error["message"].endswith("it serves embeddings, proxy, rerank.")
