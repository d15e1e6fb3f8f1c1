"""The clients of bench.llama: one streamed chat each, and when its tokens came.

They only note what arrives, and read it once all have ended: what they take, the engine's threads cannot have.
Not here: whom they ask (llama_scene), and what it cost there (llama_run).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools
import orjson

_SHOWN = 300
_EVENT = b"data: {"
_DONE = b"data: [DONE]"
_CONNECT_S = 10.0


class BadStream(Exception):
    """A stream that is not what was asked for; measuring it would mean nothing."""


@dataclass(frozen=True)
class Door:
    """Where streams are asked for: a port of 127.0.0.1, or the engine's own socket."""

    address: int | Path
    model: str
    key: str = "none"

    def request(self, number: int, tokens: int) -> bytes:
        """Bytes of a whole request: always the same for the same number.

        Whatever the engine remembers of earlier prompts is left aside, so each run has the same to compute.
        """
        body = orjson.dumps(
            {
                "model": self.model, "messages": [{"role": "user", "content": _prompt(number)}], "stream": True,
                "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "cache_prompt": False,
            }
        )  # fmt: skip
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
            f"Content-Type: application/json\r\nAuthorization: Bearer {self.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def connect(self) -> Client:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            if isinstance(self.address, Path):
                _, client = await loop.create_unix_connection(Client, str(self.address))
            else:
                _, client = await loop.create_connection(Client, "127.0.0.1", self.address)
        return client


def _prompt(number: int) -> str:
    return f"Traveller number {number + 1} stands where two roads meet. Tell a long story of the way that they take."


@dataclass(frozen=True)
class Stream:
    """One that came whole. `first_s` is from the request to the first token, `last_s` to the last."""

    first_s: float
    last_s: float
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens per second from its first token on."""
        return (self.tokens - 1) / (self.last_s - self.first_s)


class Client(asyncio.Protocol):
    """One connection, open before it is asked over. `ended` is done once the answer is whole; raises BadStream."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._asked_at = self._now = 0.0
        self._pieces: list[tuple[float, bytes]] = []

    def ask(self, request: bytes) -> None:
        assert self._transport is not None
        self._asked_at = time.perf_counter()
        self._transport.write(request)

    def leave(self) -> None:
        """An answer that has not ended is nobody's any more."""
        self.ended.cancel()
        if self._transport is not None:
            self._transport.abort()

    def stream(self, tokens: int) -> Stream:
        """What came, once it has ended. Raises BadStream unless it was `tokens` tokens and an end."""
        if self._parser.get_status_code() != 200:
            raise BadStream(
                f"status {self._parser.get_status_code()}: {self._body()[:_SHOWN].decode(errors='replace')}"
            )
        first_at, last_at, predicted = self._events()
        if not self._body().rstrip().endswith(_DONE):
            raise BadStream(f"its end is {self._body()[-_SHOWN:].decode(errors='replace')!r}")
        if predicted != tokens or first_at is None:
            raise BadStream(f"{predicted} tokens came where {tokens} were asked for; has a slot room for that many?")
        return Stream(first_at - self._asked_at, last_at - self._asked_at, predicted)

    def _events(self) -> tuple[float | None, float, int]:
        """When the first token came and when the last, and how many the engine says that it made."""
        first_at, last_at, predicted, rest = None, 0.0, 0, b""
        for at, piece in self._pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for event in (orjson.loads(line[6:]) for line in lines if line.startswith(_EVENT)):
                if "error" in event:
                    raise BadStream(str(event["error"])[:_SHOWN])
                if any(choice["delta"].get("content") for choice in event["choices"]):
                    first_at, last_at = first_at or at, at
                predicted = event.get("timings", {}).get("predicted_n", predicted)
        return first_at, last_at, predicted

    def _body(self) -> bytes:
        return b"".join(piece for _, piece in self._pieces)

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def data_received(self, data: bytes) -> None:
        self._now = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._broken(f"not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._broken(f"broken off after {len(self._body())} bytes{f': {exc}' if exc else ''}")

    # The parser's.

    def on_body(self, piece: bytes) -> None:
        self._pieces.append((self._now, piece))

    def on_message_complete(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _broken(self, how: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(BadStream(how))
