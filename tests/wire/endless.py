"""Requests that have no end, until the server makes one.

Not here: what it should answer (test_limits).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tests.wire.raw_client import Answer, RawClient
from tests.wire.rows import HEALTH, HOST, lines, message

ENOUGH_BYTES = 16 * 1024 * 1024  # the kernel's buffers are in it
_PIECE_BYTES = 64 * 1024

HEADS = {
    "headers": (lines("api"), b"X-Header: value\r\n"),
    "headers of a get": ((f"GET {HEALTH} HTTP/1.1", HOST), b"X-Header: value\r\n"),
    "the same header": (lines("api"), b"Cookie: a=b\r\n"),
    "headers of one letter": (lines("api"), b"a:\r\n"),
    "a header's value": ((*lines("api"), "X: "), b"a"),
    "a header's value of a get": ((f"GET {HEALTH} HTTP/1.1", HOST, "X: "), b"a"),
    "a header's name": ((*lines("api"), "X"), b"a"),
    "spaces before a value": ((*lines("api"), "X:"), b" "),
    "a target": (("GET /v1/models/",), b"a"),
    "a method": (("",), b"G"),
    "empty lines": (("",), b"\r\n"),
}
BODIES = {
    "a chunk's extension": (b"5;a=", b"b"),
    "extensions": (b"5", b";a=b"),
    "a size of zeros": (b"", b"0"),
    "trailers": (b"0\r\n", b"A: b\r\n"),
    "a trailer's value": (b"0\r\nA: ", b"b"),
    "a trailer's name": (b"0\r\nA", b"b"),
}


async def endless_head(client: RawClient, name: str) -> Answer:
    """What the server answers to a head that goes on like this. Fails where it takes more than ENOUGH_BYTES."""
    head, unit = HEADS[name]
    await client.send("\r\n".join(head).encode() + (b"\r\n" if unit.endswith(b"\r\n") and head[0] else b""))
    return await pour(client, repeated(unit))


async def endless_body(client: RawClient, plane: str, name: str) -> Answer:
    """The same of a chunked body, in all that is no data."""
    start, unit = BODIES[name]
    await client.send(message(*lines(plane), "Transfer-Encoding: chunked", body=start))
    return await pour(client, repeated(unit))


def repeated(unit: bytes) -> Iterator[bytes]:
    piece = unit * (_PIECE_BYTES // len(unit) or 1)
    while True:
        yield piece


async def pour(client: RawClient, pieces: Iterator[bytes], limit_bytes: int = ENOUGH_BYTES) -> Answer:
    """Send one piece after another until there is an answer. Fails where the server takes more than the limit."""
    answering = asyncio.ensure_future(client.answer("POST"))
    sent, left = 0, b""
    try:
        while not answering.done() and not client.broken_pipe:
            left = left or next(pieces)
            sent += (taken := client.send_now(left))
            left = left[taken:]
            assert sent < limit_bytes, f"it has taken {sent} bytes, and goes on"
            await asyncio.sleep(0)
    finally:
        if not answering.done() and sent >= limit_bytes:
            answering.cancel()
    return await answering
