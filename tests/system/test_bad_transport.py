"""What is wrong with a request whatever its endpoint: each endpoint says so alike, at gateway and node.

Sizes that are only declared, encodings, media types, models; and clients that go away in the midst of their upload.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from yarl import URL

from relay.endpoints import ENDPOINTS
from tests.programs import Program, until
from tests.stack import MODEL, MODEL_OF, Stack
from tests.system.good_calls import (
    FIELDS,
    FORM,
    JSON,
    Asked,
    assert_alive,
    base_of,
    encoded,
    good,
    of_form,
    of_json,
    send,
)
from tests.system.refusals import refused

pytestmark = pytest.mark.engine
LIMIT_S = 60
GIB = 1024**3
MIB = 1024**2
WHERE = pytest.mark.parametrize("where", ["gateway", "node"])
EACH = pytest.mark.parametrize("endpoint", ENDPOINTS)


def _of_model(endpoint: str, model: object) -> Asked:
    return of_form(endpoint, model=model) if endpoint in FIELDS else of_json(endpoint, model=model)


def _other(endpoint: str) -> str:
    """A model that is there and does not serve the endpoint."""
    return MODEL_OF["embeddings" if MODEL_OF[endpoint] != MODEL_OF["embeddings"] else "chat.completions"]


@WHERE
@EACH
async def test_models_that_do_not_fit(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str
) -> None:
    base = base_of(full_stack, where)
    error = refused(*await send(session, base, _of_model(endpoint, "nobody-has-this")), 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    error = refused(*await send(session, base, _of_model(endpoint, _other(endpoint))), 400)
    assert (error["param"], error["code"]) == ("model", "unsupported_endpoint")
    for odd in ("", "a/../b\\c", "x" * 5000, "\u202emodel"):
        status, headers, body = await send(session, base, _of_model(endpoint, odd))
        assert status in (400, 404), body
        assert refused(status, headers, body, status)["param"] == "model"
    await assert_alive(session, base, endpoint)


@WHERE
@EACH
async def test_bodies_that_are_something_else(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str
) -> None:
    base = base_of(full_stack, where)
    asked = good(endpoint)
    packed = replace(asked, body=gzip.compress(asked.body))
    error = refused(*await send(session, base, packed, **{"Content-Encoding": "gzip"}), 415)
    assert error["code"] == "unsupported_encoding"
    refused(*await send(session, base, replace(packed, kind=asked.kind)), 400)  # packed, and not said to be
    for kind in ("text/plain", "application/octet-stream", "application/xml", "nonsense"):
        refused(*await send(session, base, replace(asked, kind=kind)), 415)
    swapped = encoded([("model", MODEL_OF[endpoint])]) if asked.kind == JSON else b'{"model": "m"}'
    refused(*await send(session, base, Asked(endpoint, swapped, FORM if asked.kind == JSON else JSON)), 415)
    noise = asked.body.replace(MODEL_OF[endpoint].encode(), b"\xff\xfe\x80")
    refused(*await send(session, base, replace(asked, body=noise)), 400)
    await assert_alive(session, base, endpoint)


@contextlib.asynccontextmanager
async def _connection(base: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = urlsplit(base)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _head(asked: Asked, length: int) -> bytes:
    return (
        f"POST {asked.path} HTTP/1.1\r\nHost: waypost\r\nContent-Type: {asked.kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@WHERE
@EACH
async def test_a_gigabyte_that_is_only_declared(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str
) -> None:
    """It is refused by its head, and the connection, of which nobody knows where it goes on, is not used again."""
    base = base_of(full_stack, where)
    async with asyncio.timeout(LIMIT_S), _connection(base) as (reader, writer):
        writer.write(_head(good(endpoint), GIB))
        head, _, body = (await reader.readuntil(b"}}")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close" in head
    assert b'"code":"body_too_large"' in body
    await assert_alive(session, base, endpoint)


@WHERE
@pytest.mark.parametrize("endpoint", ["audio.speech", "images.generations", "embeddings"])
async def test_a_body_that_turns_out_too_large(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str
) -> None:
    """Its length is not told beforehand."""
    base, limit = base_of(full_stack, where), ENDPOINTS[endpoint].limit_bytes

    async def pieces() -> AsyncIterator[bytes]:
        yield good(endpoint).body.removesuffix(b"}") + b', "more": "'
        for _ in range(limit // MIB):
            yield b"a" * MIB
        yield b'"}'

    async with session.post(base + good(endpoint).path, data=pieces(), headers={"Content-Type": JSON}) as response:
        error = refused(response.status, response.headers, await response.read(), 413)
    assert error["code"] == "body_too_large"
    await assert_alive(session, base, endpoint)


UNPROXIED: dict[str, tuple[str, dict[str, object], int, str]] = {
    "no model": ("tokenize", {"content": "hi"}, 400, "missing_model"),
    "a model that is a number": ("tokenize", {"model": 5}, 400, "invalid_type"),
    "an unknown model": ("tokenize", {"model": "nobody-has-this"}, 404, "model_not_found"),
    "a model without paths": ("tokenize", {"model": MODEL_OF["audio.speech"]}, 400, "unsupported_endpoint"),
    "dots": ("a/%2e%2e/slots", {"model": MODEL}, 400, "invalid_path"),
    "an encoded slash": ("..%2Fslots", {"model": MODEL}, 400, "invalid_path"),
}


@WHERE
@pytest.mark.parametrize("name", UNPROXIED)
async def test_what_the_proxy_refuses(full_stack: Stack, session: aiohttp.ClientSession, where: str, name: str) -> None:
    path, body, status, code = UNPROXIED[name]
    url = URL(f"{base_of(full_stack, where)}/model/proxy/{path}", encoded=True)
    async with session.post(url, json=body) as response:
        error = refused(response.status, response.headers, await response.read(), status)
    assert error["code"] == code


@WHERE
@pytest.mark.parametrize("path", ["slots", "props", "metrics", "v1/chat/completions", ""])
async def test_paths_that_are_not_open(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, path: str
) -> None:
    async with session.post(f"{base_of(full_stack, where)}/model/proxy/{path}", json={"model": MODEL}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (403, "path_not_allowed")


@WHERE
@pytest.mark.parametrize("length", ["-1", "1e9", "18446744073709551616", "5, 6", "0x10", ""])
async def test_lengths_that_are_none(full_stack: Stack, where: str, length: str) -> None:
    head = _head(good("audio.transcriptions"), 0).replace(b"Content-Length: 0", f"Content-Length: {length}".encode())
    async with asyncio.timeout(LIMIT_S), _connection(base_of(full_stack, where)) as (reader, writer):
        writer.write(head)
        answer = await reader.read()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/1.1 413 ")), answer[:300]
    assert b'"error"' in answer and b"Traceback" not in answer


def _spools(program: Program) -> int:
    """The unnamed files that a process has open."""
    folder = Path(f"/proc/{program.pid}/fd")
    links = []
    for entry in os.listdir(folder):
        with contextlib.suppress(OSError):
            links.append(os.readlink(folder / entry))
    return sum(link.endswith("(deleted)") for link in links)


@WHERE
@pytest.mark.parametrize("endpoint", FIELDS)
async def test_an_upload_that_its_client_leaves_keeps_nothing(
    full_stack: Stack, session: aiohttp.ClientSession, where: str, endpoint: str
) -> None:
    base = base_of(full_stack, where)
    program = full_stack.gateway if where == "gateway" else full_stack.nodes[0].program
    assert program is not None
    before = _spools(program)
    asked = good(endpoint)
    begun = asked.body[: asked.body.index(b"filename") + 120]
    async with asyncio.timeout(LIMIT_S), _connection(base) as (_, writer):
        writer.write(_head(asked, 100 * MIB) + begun + bytes(8 * MIB))
        await writer.drain()
        await until(lambda: _spools(program) == before + 1, lambda: "the spool", limit_s=LIMIT_S)
    await until(lambda: _spools(program) == before, lambda: "the end of the spool", limit_s=LIMIT_S)
    async with session.get(f"{full_stack.nodes[0].url}/health") as response:
        assert not any(model["in_flight"] for model in (await response.json())["models"].values())
    await assert_alive(session, base, endpoint)
