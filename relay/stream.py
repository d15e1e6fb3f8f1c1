"""Ask an upstream, and relay what it answers, byte for byte, in two steps.

`ask` returns once the upstream has really answered: its head and first bytes for a stream, everything for the rest, so
that until then another upstream can still be asked. `relay` then carries the bytes to the client. An answer that breaks
after its first byte never looks complete: it gets an error event where there is one, and no end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType

import aiohttp
from aiohttp import web

from relay.call import Call
from relay.errors import ApiError, BadUpstream, ConnectFailed, Reset, UpstreamTimeout

_PASSED_BACK = ("Content-Type", "Content-Language", "Cache-Control")
_ERROR_BODY_LIMIT_BYTES = 256 * 1024
_WHOLE_BODY_LIMIT_BYTES = 64 * 1024 * 1024
_TAIL_BYTES = 64


@dataclass(frozen=True)
class Limits:
    """Named time limits, in seconds. There is none on the length of a stream that goes on."""

    connect_s: float = 5.0
    head_s: float = 600.0  # a long prefill, or a whole answer that is not streamed, comes before the first byte
    gap_s: float = 120.0  # between two pieces of a stream


class Answer:
    """An upstream that has answered. Leaving the context gives the connection back, or closes it if it is not done."""

    def __init__(self, response: aiohttp.ClientResponse, limits: Limits) -> None:
        self._response = response
        self._limits = limits
        self.status = response.status
        self.first = b""
        self.streamed = response.content_type == "text/event-stream"

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    def headers(self) -> dict[str, str]:
        """Only the named headers come back."""
        return {name: self._response.headers[name] for name in _PASSED_BACK if name in self._response.headers}

    async def begin(self) -> None:
        """Read the first bytes of a stream, or the whole of anything else. Raises BadUpstream or UpstreamTimeout."""
        if self.streamed and self.ok:
            self.first = await self._next(self._limits.head_s)
            if not self.first:
                raise Reset("The upstream's stream ended before it began.", code="upstream_broken")
            return
        limit = _WHOLE_BODY_LIMIT_BYTES if self.ok else _ERROR_BODY_LIMIT_BYTES
        read = bytearray()
        while piece := await self._next(self._limits.gap_s):
            read += piece
            if len(read) > limit:
                raise BadUpstream("The upstream's answer is too large.", code="upstream_too_large")
        self.first = bytes(read)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes in the order they came. Raises BadUpstream or UpstreamTimeout where they break off."""
        if self.first:
            yield self.first
        if self.streamed and self.ok:
            while piece := await self._next(self._limits.gap_s):
                yield piece

    async def _next(self, limit_s: float) -> bytes:
        try:
            async with asyncio.timeout(limit_s):
                return await self._response.content.readany()
        except TimeoutError as error:
            raise UpstreamTimeout("The upstream fell silent.", code="gap_timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Reset("The upstream broke off its answer.", code="upstream_broken") from error

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection unless the answer was read to its end (then it went back to the pool already)."""
        self._response.close()


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    call: Call,
    headers: Mapping[str, str],
    limits: Limits,
    tls: aiohttp.Fingerprint | bool = True,
) -> Answer:
    """Send the call's body to `url` and wait for an answer, whatever its status.

    Raises ConnectFailed (the upstream did not see the request), Reset (it may have), UpstreamTimeout (silence).
    """
    sent = {"Content-Type": "application/json", "X-Request-Id": call.request_id, **headers}
    try:
        async with asyncio.timeout(limits.head_s):
            response = await session.post(url, data=call.body, headers=sent, allow_redirects=False, ssl=tls)
    except TimeoutError as error:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise ConnectFailed("The upstream did not accept a connection in time.", code="connect_timeout") from error
        raise UpstreamTimeout("The upstream did not answer in time.", code="head_timeout") from error
    except (aiohttp.ClientConnectorError, aiohttp.ServerFingerprintMismatch) as error:
        raise ConnectFailed("The upstream could not be reached.", code="connect_failed") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Reset("The upstream closed the connection without an answer.", code="upstream_reset") from error
    answer = Answer(response, limits)
    try:
        await answer.begin()
    except BaseException:
        answer.close()
        raise
    return answer


async def relay(
    request: web.Request, answer: Answer, call: Call, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Carry a good answer to the client. `headers` are added to the few that come back from the upstream."""
    named = {**answer.headers(), **(headers or {})}
    if not answer.streamed:
        return web.Response(status=answer.status, body=answer.first, headers=named)
    response = web.StreamResponse(status=answer.status, headers={"Cache-Control": "no-cache", **named})
    response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(request)
    await _carry(request, response, answer, call)
    return response


async def _carry(request: web.Request, response: web.StreamResponse, answer: Answer, call: Call) -> None:
    tail = b""
    try:
        async for piece in answer.pieces():
            await response.write(piece)
            tail = (tail + piece)[-_TAIL_BYTES:]
        if not _is_whole(tail, call.endpoint.done_marker):
            raise Reset("The upstream's stream ended before it was complete.", code="upstream_broken")
    except ApiError as error:
        await _break_off(request, response, error)
        return
    await response.write_eof()


def _is_whole(tail: bytes, marker: bytes) -> bool:
    """Whether the stream's last line is its marker; the same words inside an answer are not."""
    end = tail.rstrip()
    return end.endswith((b"\n" + marker, b"\r" + marker)) or end == marker


async def _break_off(request: web.Request, response: web.StreamResponse, error: ApiError) -> None:
    """Say what happened in the stream, then close the connection without the final chunk."""
    await response.write(b"\n\n" + error.event())
    if request.transport is not None:
        request.transport.close()
