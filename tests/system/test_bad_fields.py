"""Wrong values in JSON bodies: each is a 400 that names the field, at gateway and node, and the engine lives on.

Chat and embeddings have files of their own (test_bad_input, test_embedding_input).
"""

from __future__ import annotations

import aiohttp
import pytest

from tests.stack import Stack
from tests.system.good_calls import Asked, assert_alive, base_of, of_json, send
from tests.system.refusals import refused

pytestmark = pytest.mark.engine
LONG = "word " * 3000


def _raw(endpoint: str, field: str, literal: bytes) -> Asked:
    """The good call with a field that no JSON writer would write."""
    asked = of_json(endpoint, **{field: "@"})
    return Asked(endpoint, asked.body.replace(b'"@"', literal))


def _of(endpoint: str, rows: dict[str, tuple[dict[str, object], str | None]]) -> dict[str, tuple[Asked, str | None]]:
    return {f"{endpoint}: {name}": (of_json(endpoint, **changes), param) for name, (changes, param) in rows.items()}


COMPLETIONS = _of("completions", {
    "no prompt": ({"prompt": ...}, "prompt"),
    "an empty list": ({"prompt": []}, "prompt"),
    "a prompt that is an object": ({"prompt": {"a": 1}}, "prompt"),
    "negative n": ({"n": -1}, "n"),
    "max_tokens that is text": ({"max_tokens": "many"}, "max_tokens"),
    "stop that is a number": ({"stop": 5}, "stop"),
    "a prompt beyond the context": ({"prompt": "a b " * 60_000}, None),
})  # fmt: skip
RESPONSES = _of("responses", {
    "no input": ({"input": ...}, "input"),
    "an empty input": ({"input": ""}, "input"),
    "items that are text": ({"input": ["hi"]}, "input"),
    "an item that is nothing": ({"input": [{}]}, None),
    "a call before this one": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "max_output_tokens that is text": ({"max_output_tokens": "many"}, "max_output_tokens"),
    "tools that are text": ({"tools": "all"}, "tools"),
})  # fmt: skip
MESSAGES = _of("messages", {
    "no max_tokens": ({"max_tokens": ...}, "max_tokens"),
    "negative max_tokens": ({"max_tokens": -5}, "max_tokens"),
    "no messages": ({"messages": ...}, "messages"),
    "empty messages": ({"messages": []}, "messages"),
    "a message without role": ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    "content that is a number": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    "temperature that is text": ({"temperature": "hot"}, "temperature"),
})  # fmt: skip
RERANK = _of("rerank", {
    "no query": ({"query": ...}, "query"),
    "an empty query": ({"query": ""}, "query"),
    "a blank query": ({"query": " \n"}, "query"),
    "a query that is a list": ({"query": ["a"]}, "query"),
    "no documents": ({"documents": ...}, "documents"),
    "0 documents": ({"documents": []}, "documents"),
    "10,000 documents": ({"documents": ["a"] * 10_000}, "documents"),
    "documents that are text": ({"documents": "a"}, "documents"),
    "a document that is a number": ({"documents": ["a", 5]}, "documents[1]"),
    "a document without text": ({"documents": [{"title": "a"}]}, "documents[0]"),
    "an empty document": ({"documents": ["a", ""]}, "documents[1]"),
    "negative top_n": ({"top_n": -1}, "top_n"),
    "top_n of zero": ({"top_n": 0}, "top_n"),
    "top_n that is text": ({"top_n": "all"}, "top_n"),
    "top_n between": ({"top_n": 1.5}, "top_n"),
    "return_documents that is text": ({"return_documents": "yes"}, "return_documents"),
    "a stream": ({"stream": True}, "stream"),
})  # fmt: skip
SPEECH = _of("audio.speech", {
    "no input": ({"input": ...}, "input"),
    "an empty input": ({"input": ""}, "input"),
    "a blank input": ({"input": " \n "}, "input"),
    "nothing that can be spoken": ({"input": "\u2028"}, "input"),
    "an input that is a list": ({"input": ["hi"]}, "input"),
    "too long an input": ({"input": LONG}, "input"),
    "an unknown voice": ({"voice": "nobody"}, "voice"),
    "a very long voice": ({"voice": "n" * 100_000}, "voice"),
    "a voice that is a path": ({"voice": "../../etc/passwd"}, "voice"),
    "a voice that is a number": ({"voice": 7}, "voice"),
    "an unknown format": ({"response_format": "midi"}, "response_format"),
    "a format that is a list": ({"response_format": ["wav"]}, "response_format"),
    "no speed at all": ({"speed": 0}, "speed"),
    "negative speed": ({"speed": -1}, "speed"),
    "too much speed": ({"speed": 100}, "speed"),
    "speed that is text": ({"speed": "fast"}, "speed"),
    "speed that is true": ({"speed": True}, "speed"),
    "an unknown stream": ({"stream_format": "ws"}, "stream_format"),
    "instructions that are a list": ({"instructions": ["calm"]}, "instructions"),
})  # fmt: skip
SIZES = (
    "0x0",
    "-64x64",
    "64",
    "64x",
    "64x64x64",
    "99999x99999",
    "8192x64",
    "63x64",
    "64X64",
    "64x64 ",
    "",
    64,
    ["64x64"],
)
IMAGES = _of("images.generations", {
    "no prompt": ({"prompt": ...}, "prompt"),
    "a blank prompt": ({"prompt": " "}, "prompt"),
    "a prompt that is a list": ({"prompt": ["a"]}, "prompt"),
    "too long a prompt": ({"prompt": "a" * 40_000}, "prompt"),
    "negative n": ({"n": -1}, "n"),
    "n of zero": ({"n": 0}, "n"),
    "n of a thousand": ({"n": 1000}, "n"),
    "n between": ({"n": 1.5}, "n"),
    "n that is text": ({"n": "2"}, "n"),
    **{f"size {size!r}": ({"size": size}, "size") for size in SIZES},
    "negative steps": ({"steps": -1}, "steps"),
    "a million steps": ({"steps": 1_000_000}, "steps"),
    "a seed that is text": ({"seed": "x"}, "seed"),
    "an enormous seed": ({"seed": 1e30}, "seed"),
    "an unknown response_format": ({"response_format": "bmp"}, "response_format"),
    "an unknown output_format": ({"output_format": "gif"}, "output_format"),
    "a background that cannot be": ({"background": "transparent"}, "background"),
    "strength beyond all": ({"strength": 2}, "strength"),
    "a stream that is text": ({"stream": "yes"}, "stream"),
})  # fmt: skip
ODD_NUMBERS = {
    f"{endpoint}: {field} {literal.decode()}": (_raw(endpoint, field, literal), None)
    for endpoint, field in (
        ("audio.speech", "speed"), ("images.generations", "cfg_scale"), ("rerank", "top_n"),
        ("completions", "temperature"), ("messages", "temperature"), ("responses", "temperature"),
    )
    for literal in (b"NaN", b"Infinity", b"-Infinity")
}  # fmt: skip
BAD = COMPLETIONS | RESPONSES | MESSAGES | RERANK | SPEECH | IMAGES | ODD_NUMBERS


@pytest.mark.parametrize("where", ["gateway", "node"])
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_field(full_stack: Stack, session: aiohttp.ClientSession, where: str, name: str) -> None:
    asked, param = BAD[name]
    base = base_of(full_stack, where)
    error = refused(*await send(session, base, asked), 400)
    if param is not None:
        assert error["param"] == param, error
    await assert_alive(session, base, asked.endpoint)
