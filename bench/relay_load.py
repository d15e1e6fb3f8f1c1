"""The clients of bench.relay: raw HTTP/1.1 on asyncio protocols, cheap enough that what they ask is the limit.

Not here: whom they ask (relay_doors), and what is made of the figures (relay_table).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

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
_EVENT = b"data: {"
_FRAME = re.compile(rb"\r\n[0-9a-f]+\r\n")  # a hop may cut anything in two
_LOOKED_AT = 96


@dataclass(frozen=True)
class Door:
    """Where requests go. A client's model is one of `models`, by its number; `headers` is text with line ends."""

    port: int
    models: tuple[str, ...] = (MODEL,)
    key: str = "sk-none"
    headers: str = ""
    tls: ssl.SSLContext | None = None
    path: str = "/v1/chat/completions"

    def request(self, client: int, *, tokens: int = 1, pace_ms: int = 0, stream: bool = False) -> bytes:
        """Bytes of a whole request; what the synthetic engine is to do stands in its body."""
        streamed = ',"stream":true' if stream else ""
        body = (
            f'{{"messages":[{{"role":"user","content":"{_SAID}"}}],"model":"{self.models[client % len(self.models)]}",'
            f'"max_tokens":{tokens},"seed":{pace_ms},"temperature":0{streamed}}}'
        )
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{_HEADERS}"
            f"Authorization: Bearer {self.key}\r\n{self.headers}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


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
    """One connection. `again` gives the next request, None where no more shall come."""

    def __init__(self, tally: Tally, again: Callable[[], bytes | None]) -> None:
        self._tally = tally
        self._again = again
        self.transport: asyncio.Transport | None = None
        self.asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by name
        self.ask()

    def ask(self) -> None:
        assert self.transport is not None
        request = self._again()
        if request is None:
            return
        self.asking = True
        self.reset()
        self.transport.write(request)

    def reset(self) -> None:
        raise NotImplementedError

    def answered(self) -> None:
        """In whole. The next one follows at once."""
        self.asking = False
        self._tally.answers += 1
        self.ask()

    def failed(self, what: str) -> None:
        self.asking = False
        self._tally.error(what)
        assert self.transport is not None
        self.transport.abort()

    def leave(self) -> None:
        """What is still to come counts neither way."""
        self.asking = False
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.asking:
            self.asking = False
            self._tally.error("broken off")


class Small(Client):
    """Asks for small answers, one after the other."""

    def reset(self) -> None:
        self._read = b""
        self._end = 0

    def data_received(self, data: bytes) -> None:
        self._read = data = self._read + data if self._read else data
        if not self._end:
            head_end = data.find(b"\r\n\r\n")
            if head_end < 0:
                return None
            if data[9:12] != b"200":
                return self.failed(f"status {data[9:12].decode()}")
            length = _LENGTH.search(data, 0, head_end)
            self._end = head_end + 4 + int(length[1]) if length else -1
        if (self._end < 0 and data.endswith(b"\r\n" + _END)) or 0 < self._end <= len(data):
            self.answered()
        return None


class Stream(Client):
    """Reads streams, one after the other: when each one's first token came, how many came, and the largest gap."""

    def __init__(self, tally: Tally, again: Callable[[], bytes | None]) -> None:
        super().__init__(tally, again)
        self.tokens = 0  # of all its streams
        self.began = False  # the one that it reads
        self.gap_s = 0.0

    def restart(self) -> None:
        """Forget what was seen of gaps and tokens."""
        self.tokens, self.gap_s = 0, 0.0

    def reset(self) -> None:
        self._asked_at = self._last_at = time.perf_counter()
        self._headed = self.began = False
        self._rest = self._before = b""

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._rest:
            data = self._rest + data
        if not self._headed:
            if len(data) < 12:
                self._rest = data
                return None
            if data[9:12] != b"200":
                return self.failed(f"status {data[9:12].decode()}")
            self._headed = True
        if count := data.count(_EVENT):
            self._seen(count, now)
        if data.endswith(b"\r\n" + _END) or data == _END:
            before = self._before[: len(self._before) - len(self._rest)]  # the rest stands in `data` already
            last = _FRAME.sub(b"", (before + data)[-_LOOKED_AT:])
            return self.answered() if b"[DONE]" in last else self.failed("ended without [DONE]")
        self._before = data
        # An event's end cuts nothing in two that is looked for; another piece's end may.
        self._rest = b"" if data.endswith(b"\n\n\r\n") else data[-6:]
        return None

    def _seen(self, count: int, now: float) -> None:
        if not self.began:
            self.began = True
            self._tally.first_s.append(now - self._asked_at)
        elif now - self._last_at > self.gap_s:
            self.gap_s = now - self._last_at
        self._last_at = now
        self.tokens += count
        self._tally.tokens += count
