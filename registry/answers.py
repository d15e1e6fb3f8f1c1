"""What a host on the network answers, within limits: its bytes, its JSON, and its words fit for a line.

Not here: what is asked (aleph.host, evm.rpc).
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import orjson

__all__ = ["TooLarge", "one_line", "open_session", "read_at_most", "read_json"]


class TooLarge(aiohttp.ClientPayloadError):
    """What `read_at_most` did not read to the end."""


def open_session(*, request_s: float, connect_s: float) -> aiohttp.ClientSession:
    """For requests to one host: each ends in time, and nothing is remembered of it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=request_s, sock_connect=connect_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def read_at_most(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """An answer's body. Raises TooLarge, and the connection is closed."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit_bytes:
            response.close()
            raise TooLarge(f"an answer of more than {limit_bytes} bytes")
    return bytes(body)


def read_json(text: str | bytes) -> Any:
    """Any JSON; what one poster wrote must not spoil what stands beside it. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)  # takes lone surrogates and endless numbers
        except RecursionError as error:
            raise ValueError("nested too deep") from error


def one_line(text: str, limit: int = 300) -> str:
    """A host's words, fit for a terminal."""
    clean = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * limit]).split())
    return clean if len(clean) <= limit else clean[:limit] + "..."
