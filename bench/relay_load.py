"""The clients of bench.relay: raw HTTP/1.1 on asyncio protocols, cheap enough that what they ask is the limit.

Whoever is asked, the first token is the first event with text, and an answer counts only if it is all that was asked
for. Not here: whom they ask (relay_targets), how a stream is read (relay_reading), and the figures (relay_table).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from bench.relay_reading import Reading, Unsound

MODEL = "bench"
_HEADERS = (  # what openai-python sends with each request
    "Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
    "Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.1\r\nX-Stainless-Lang: python\r\n"
    "X-Stainless-Package-Version: 2.8.1\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n"
    "X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.11.7\r\nX-Stainless-Async: async:asyncio\r\n"
    "x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n"
)
_SAID = "A waypost stands where two roads meet. Say in a few words what it is for, and who it was put up for."
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"0\r\n\r\n"  # of a chunked answer, behind a line's end
SMALL_TEXT = "Blue."  # what the synthetic engine says to whoever wants no stream
_SMALL = SMALL_TEXT.encode()


class Asked(NamedTuple):
    """A whole request, and how many tokens its stream shall have."""

    request: bytes
    tokens: int


@dataclass(frozen=True)
class Door:
    """Where requests go. A client's model is one of `models`, by its number; `headers` is text with line ends."""

    port: int
    models: tuple[str, ...] = (MODEL,)
    key: str = "sk-none"
    headers: str = ""
    tls: ssl.SSLContext | None = None
    path: str = "/v1/chat/completions"

    def request(self, client: int, *, tokens: int = 1, pace_ms: int = 0, stream: bool = False) -> Asked:
        """What the synthetic engine is to do stands in its body."""
        streamed = ',"stream":true' if stream else ""
        body = (
            f'{{"messages":[{{"role":"user","content":"{_SAID}"}}],"model":"{self.models[client % len(self.models)]}",'
            f'"max_tokens":{tokens},"seed":{pace_ms},"temperature":0{streamed}}}'
        )
        request = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{_HEADERS}"
            f"Authorization: Bearer {self.key}\r\n{self.headers}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        return Asked(request.encode(), tokens)


@dataclass
class Tally:
    """What all clients of a phase have seen so far."""

    answers: int = 0
    tokens: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    first_s: list[float] = field(default_factory=list)  # until the first token of each stream begun

    def error(self, what: str) -> None:
        self.errors[what] = self.errors.get(what, 0) + 1


class Client(asyncio.Protocol):
    """One connection. `again` gives the next request. `progress` is what it was given so far: answers, or tokens."""

    def __init__(self, tally: Tally, again: Callable[[], Asked]) -> None:
        self._tally = tally
        self._again = again
        self.transport: asyncio.Transport | None = None
        self.asking = False
        self.progress = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by name
        self.ask()

    def ask(self) -> None:
        assert self.transport is not None
        asked = self._again()
        self.asking = True
        self.reset(asked)
        self.transport.write(asked.request)

    def reset(self, asked: Asked) -> None:
        """An answer to this is to come."""
        raise NotImplementedError

    def answered(self) -> None:
        """In whole. The next one follows at once."""
        self.asking = False
        self._tally.answers += 1
        self.ask()

    def failed(self, what: str) -> None:
        """Once, and it asks no more."""
        if self.asking:
            self._tally.error(what)
        self.leave()

    def leave(self) -> None:
        """What is still to come counts neither way."""
        self.asking = False
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed("broken off")


class Small(Client):
    """Asks for small answers, one after the other."""

    def reset(self, asked: Asked) -> None:
        self._read = b""
        self._end = 0

    def data_received(self, data: bytes) -> None:
        if not self.asking:
            return None
        self._read = data = self._read + data if self._read else data
        if not self._end:
            head_end = data.find(b"\r\n\r\n")
            if head_end < 0:
                return None
            if data[9:12] != b"200":
                return self.failed(f"status {data[9:12].decode(errors='replace')}")
            length = _LENGTH.search(data, 0, head_end)
            self._end = head_end + 4 + int(length[1]) if length else -1
        if (self._end < 0 and data.endswith(b"\r\n" + _END)) or 0 < self._end <= len(data):
            if _SMALL not in data or 0 < self._end < len(data):
                return self.failed("another answer than the engine's")
            self.progress += 1
            self.answered()
        return None


class Stream(Client):
    """Reads streams, one after the other: when each one's first token came, how many came, and the largest gap."""

    def __init__(self, tally: Tally, again: Callable[[], Asked]) -> None:
        super().__init__(tally, again)
        self.began = False  # the one that it reads
        self.gap_s = 0.0

    def restart(self) -> None:
        """Forget what was seen of gaps and tokens."""
        self.progress, self.gap_s = 0, 0.0

    def reset(self, asked: Asked) -> None:
        self._asked_at = self._last_at = time.perf_counter()
        self.began = False
        self._reading = Reading(asked.tokens)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.asking:
            return
        try:
            tokens = self._reading.feed(data)
        except Unsound as how:
            self.failed(str(how))
            return
        if tokens:
            self._told(tokens, now)
        if self._reading.ended:
            self.answered()

    def _told(self, tokens: int, now: float) -> None:
        if not self.began:
            self.began = True
            self._tally.first_s.append(now - self._asked_at)
        elif now - self._last_at > self.gap_s:
            self.gap_s = now - self._last_at
        self._last_at = now
        self.progress += tokens
        self._tally.tokens += tokens
