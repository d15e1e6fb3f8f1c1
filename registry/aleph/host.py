"""One node over HTTP: a GET that ends, and the socket. Whatever goes wrong is Unreachable, in one line.

Not here: what the JSON means (reader), posting (writer).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from registry.aleph.limits import Limits
from registry.aleph.url import Place
from registry.answers import TooLarge, one_line, open_session, read_at_most, read_json
from registry.backend import Unreachable

__all__ = ["BODY_LIMIT_BYTES", "Host", "TooMuch"]

BODY_LIMIT_BYTES = 16 * 1024 * 1024
FRAME_LIMIT_BYTES = 8 * 1024 * 1024  # one message, at most 200,000 characters that may be escaped twice


class TooMuch(Unreachable):
    """An answer beyond the limit; asking for fewer messages may help."""


class Host:
    """The node behind a registry's URL. Connects when first used; `close` is for good."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self.place = place
        self.limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"Host({self.place.origin}, closed={self._closed})"

    def check_open(self) -> None:
        """Raises Unreachable after `close`."""
        if self._closed:
            raise self.unreachable("closed")

    def unreachable(self, why: str) -> Unreachable:
        return Unreachable(f"registry {self.place.url}: {one_line(why)}")

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at `path`, None where the node answers 404. Raises Unreachable, TooMuch."""
        try:
            async with self._open().get(self.place.origin + path, params=params, allow_redirects=False) as response:
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise self.unreachable(f"answered {response.status} to {path}")
                body = await read_at_most(response, BODY_LIMIT_BYTES)
        except TooLarge as error:
            raise TooMuch(f"registry {self.place.url}: {error}") from error
        except TimeoutError as error:
            raise self.unreachable(f"no answer to {path} within {self.limits.request_s:g} s") from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._away(error) from error
        try:
            return read_json(body)
        except ValueError as error:
            raise self.unreachable(f"answered something else than JSON to {path}; is it an Aleph node?") from error

    async def message(self, item_hash: str) -> dict[str, Any] | None:
        """What the node says of one message, `status` at least; None if it does not know it. Raises Unreachable."""
        answer = await self.get(f"/api/v0/messages/{item_hash}")
        if answer is None or (isinstance(answer, dict) and isinstance(answer.get("status"), str)):
            return answer
        raise self.unreachable("answered nothing that makes sense about a message; is it an Aleph node?")

    @asynccontextmanager
    async def listen(self, path: str, params: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """An open socket. Raises Unreachable if there is none to be had."""
        try:
            socket = await self._open().ws_connect(
                self.place.origin + path,
                params=params,
                heartbeat=self.limits.heartbeat_s,
                max_msg_size=FRAME_LIMIT_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        except TimeoutError as error:
            raise self.unreachable(f"no socket within {self.limits.request_s:g} s") from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._away(error) from error
        try:
            yield socket
        finally:
            await socket.close()

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        self.check_open()
        if self._session is None:
            self._session = open_session(request_s=self.limits.request_s, connect_s=self.limits.connect_s)
        return self._session

    def _away(self, error: Exception) -> Unreachable:
        self.check_open()
        return self.unreachable(f"cannot be reached ({error or type(error).__name__})")
