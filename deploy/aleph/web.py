"""HTTP to hosts that may say anything: each request ends in time, each answer is bounded, no redirect is followed.

Not here: what is asked (network, host, hosts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from registry.answers import TooLarge, one_line, read_at_most, read_json

__all__ = ["Answer", "Away", "Web"]

_ANSWER_LIMIT_BYTES = 32 * 2**20  # the list of compute hosts is the longest
_CONNECT_S = 10.0


class Away(Exception):
    """A host that did not answer, or not in a way that makes sense; one line that names it."""


@dataclass(frozen=True)
class Answer:
    """What a host said: its status, its body, and who it was."""

    who: str
    status: int
    body: bytes

    def json(self) -> Any:
        """Raises Away where it is none."""
        try:
            return read_json(self.body)
        except ValueError as error:
            raise Away(f"{self.who} answered {self.status} with something else than JSON: {self.words()}") from error

    def words(self) -> str:
        """What it said, fit for a line."""
        return one_line(self.body[:2000].decode("utf-8", "replace")) or f"status {self.status}"


class _Bounded(aiohttp.ClientResponse):
    """Whoever reads it whole, such as the SDK, gets an error where it is too long."""

    async def read(self) -> bytes:
        if self._body is None:
            self._body = await read_at_most(self, _ANSWER_LIMIT_BYTES)
        return await super().read()


class Web:
    """A session of our own, to be closed. `request_s` holds for a whole answer, uploads apart."""

    def __init__(self, request_s: float) -> None:
        self.request_s = request_s
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=request_s, sock_connect=min(_CONNECT_S, request_s)),
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=_Bounded,
            trust_env=False,
        )

    async def close(self) -> None:
        await self.session.close()

    async def get(self, url: str, params: Mapping[str, str] | None = None, headers: Any = None) -> Answer:
        """Raises Away."""
        return await self._ask("GET", url, params=params, headers=headers)

    async def post(self, url: str, **body: Any) -> Answer:
        """Raises Away."""
        return await self._ask("POST", url, **body)

    async def _ask(self, method: str, url: str, **more: Any) -> Answer:
        who = urlsplit(url).netloc
        try:
            async with self.session.request(method, url, allow_redirects=False, **more) as response:
                if 300 <= response.status < 400:
                    raise Away(f"{who} answered {response.status}, a redirect, to {urlsplit(url).path}")
                return Answer(who, response.status, await response.read())
        except TimeoutError as error:
            raise Away(f"{who} did not answer within {self.request_s:g} s (--request-s)") from error
        except TooLarge as error:
            raise Away(f"{who} sent {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Away(f"{who} cannot be reached ({one_line(str(error)) or type(error).__name__})") from error
