"""An upstream's answer that came through aiohttp, for what is not the hot path. Not here: the hot path's own (wire)."""

from __future__ import annotations

import asyncio
from math import inf

import aiohttp

from relay.errors import Reset, UpstreamTimeout
from relay.wire.flow import Headers, Sink


class WebSource:
    """A `Source` on a response of aiohttp's, for what is not the hot path."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: Headers = response.headers
        self.content_type: str = response.content_type
        self.length: int | None = response.content_length
        self.ended = False
        self._gap_s = inf

    def __repr__(self) -> str:
        return f"<WebSource {self.status} {'ended' if self.ended else 'open'}>"

    async def next(self, limit_s: float) -> bytes:
        try:
            async with asyncio.timeout(limit_s):
                piece = await self._response.content.readany()
        except TimeoutError as error:
            raise UpstreamTimeout("The upstream fell silent.", code="gap_timeout") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Reset("The upstream broke off its answer.", code="upstream_broken") from error
        self.ended = not piece
        return piece

    async def flow(self, sink: Sink, gap_s: float) -> None:
        self._gap_s = gap_s
        while piece := await self.next(self._gap_s):
            sink.write(piece)
            await sink.room()

    def hasten(self, gap_s: float) -> None:
        self._gap_s = min(gap_s, self._gap_s)

    def close(self) -> None:
        self._response.close()
