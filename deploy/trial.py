"""Asking a gateway as any client would, and what one answer gives to the next question.

Not here: what is asked on which endpoint (calls).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import aiohttp
import orjson

from deploy import samples

_LIMIT_S = 300.0  # a CPU may be slow
_PROXY_HEADER = "X-Waypost-Model"


class CallFailed(Exception):
    """The call was refused or broke off; the text says how."""


class Trial:
    """The gateway at `url`, which has no path. `picture` and `sound` are what was made last, for what needs one."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self.picture = samples.picture()
        self.sound = samples.sound()
        self._session = session

    async def got(self, path: str) -> Any:
        """What GET answers, from JSON. Raises CallFailed."""
        return orjson.loads(await self._asked("GET", path))

    async def posted(self, path: str, body: Mapping[str, Any], model: str | None = None) -> Any:
        """What a JSON body is answered with, from JSON; a header names `model` if given. Raises CallFailed."""
        return orjson.loads(await self.fetched(path, body, model))

    async def fetched(self, path: str, body: Mapping[str, Any], model: str | None = None) -> bytes:
        """What a JSON body is answered with. Raises CallFailed."""
        return await self._asked("POST", path, json=body, headers={_PROXY_HEADER: model} if model else None)

    async def sent(self, path: str, fields: Mapping[str, str], field: str, name: str, file: bytes) -> Any:
        """What a form with one file is answered with, from JSON. Raises CallFailed."""
        form = aiohttp.FormData(fields)
        form.add_field(field, file, filename=name)
        return orjson.loads(await self._asked("POST", path, data=form))

    async def streamed(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """The events of a stream in OpenAI's form, as they come. Raises CallFailed where it is not whole."""
        try:
            async with self._session.post(f"{self.url}{path}", json=body, timeout=_limit()) as response:
                await _check(response)
                async with aclosing(_events(response)) as events:
                    async for event in events:
                        yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallFailed(f"the stream broke off: {type(error).__name__}") from error

    async def _asked(self, method: str, path: str, **options: Any) -> bytes:
        try:
            async with self._session.request(method, f"{self.url}{path}", timeout=_limit(), **options) as response:
                await _check(response)
                return await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallFailed(f"no answer: {type(error).__name__}") from error


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise CallFailed(f"status {response.status}: {_message(await response.read())}")


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:300].decode(errors="replace")


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[Any, None]:
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            return
        event = orjson.loads(data)
        if "error" in event:
            raise CallFailed(str(event["error"]["message"]))
        yield event
    raise CallFailed("the stream broke off before its end")


def _limit() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=_LIMIT_S)
