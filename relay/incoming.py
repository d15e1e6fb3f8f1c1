"""A request whose body is still to be read, whoever serves it: the hot path, or the application.

Not here: what the body must be like (call, form).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from relay.errors import BadRequest, UnsupportedMedia, body_too_large
from relay.http import REQUEST_ID

_STALLED_S = 120.0  # between two pieces of the body


class Incoming(Protocol):
    """`content_type` is the media type alone, `stalled_s` for how long the body may stop; `whole`: all is here."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def request_id(self) -> str: ...

    @property
    def content_type(self) -> str: ...

    @property
    def content_length(self) -> int | None: ...

    @property
    def stalled_s(self) -> float: ...

    @property
    def whole(self) -> bool: ...

    def take_held(self) -> bytes:
        """All that is left of a body that is `whole`."""
        ...

    async def read_piece(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises BadRequest where it is broken."""
        ...


class Taken:
    """A request that the application serves."""

    def __init__(self, request: web.Request, stalled_s: float = _STALLED_S) -> None:
        self._request = request
        self.stalled_s = stalled_s
        self.headers: Mapping[str, str] = request.headers
        self.request_id: str = request[REQUEST_ID]
        self.content_type: str = request.content_type
        self.content_length: int | None = request.content_length

    @property
    def whole(self) -> bool:
        return False  # it may be, but then no piece is waited for

    def take_held(self) -> bytes:
        raise AssertionError("it is never known to be whole")

    async def read_piece(self) -> bytes:
        """As `Incoming` says."""
        try:
            return await self._request.content.readany()
        except web.RequestPayloadError as error:
            text = "The request body is broken: its framing or encoding is wrong."
            raise BadRequest(text, code="broken_body") from error


async def next_piece(incoming: Incoming) -> bytes:
    """The next bytes of the body, empty at its end. Raises BadRequest where it is broken, or stops for too long."""
    try:
        async with asyncio.timeout(incoming.stalled_s):
            return await incoming.read_piece()
    except TimeoutError as error:
        raise BadRequest(f"The request body stopped for {incoming.stalled_s:.0f} s.", code="body_stalled") from error


async def read_body(incoming: Incoming, limit_bytes: int) -> bytes:
    """The whole body, at most `limit_bytes`. Raises ApiError 413, or 400 where it is broken or stops."""
    if (incoming.content_length or 0) > limit_bytes:
        raise body_too_large(limit_bytes)
    if incoming.whole:  # as nearly all are, which came with their head
        body = incoming.take_held()
        if len(body) > limit_bytes:
            raise body_too_large(limit_bytes)
        return body
    read = bytearray()
    while piece := await next_piece(incoming):
        read += piece
        if len(read) > limit_bytes:
            raise body_too_large(limit_bytes)
    return bytes(read)


def check_encoding(headers: Mapping[str, str]) -> None:
    """Raises UnsupportedMedia for a compressed body: it would have to travel on with the header that says so."""
    given = headers.get("Content-Encoding")
    if given is not None and any(coding.strip().lower() not in ("", "identity") for coding in given.split(",")):
        text = "The body is compressed (Content-Encoding); send it as it is."
        raise UnsupportedMedia(text, code="unsupported_encoding")
