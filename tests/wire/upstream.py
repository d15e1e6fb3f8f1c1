"""A node that proves its key and reads requests strictly, by h11: what reaches it, and what becomes of its answers.

What it does with a chat is told by its prompt: `hold` gives a stream's first event, and what is still to come when it
may `go_on`; `silent` answers nothing; `flood` is a stream without an end; anything else is repeated. Any other body is
repeated as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import h11
import orjson

from gateway.challenge import PATH
from registry.keys import NodeKey
from registry.signing import challenge_message

CHAT = "/v1/chat/completions"
_FLOOD = b'data: {"choices": [{"index": 0, "delta": {"content": "' + b"water " * 10_000 + b'"}}]}\n\n'


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """What it has seen: the requests, those given up before they were answered, and what was no HTTP."""

    url: str = ""
    key: NodeKey = field(default_factory=NodeKey.new)
    asked: list[Asked] = field(default_factory=list)
    given_up: int = 0
    broken: list[str] = field(default_factory=list)
    paused: int = 0  # connections that take nothing now
    flooded: int = 0  # bytes
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def words(self) -> list[str]:
        """The prompts and the other bodies that it was asked, in their order."""
        return [word_of(asked.body) for asked in self.asked]

    def challenged(self, body: bytes) -> bytes:
        asked = orjson.loads(body)
        message = challenge_message(asked["nonce"], asked["url"], None, asked["gateway"])
        return orjson.dumps({"signature": self.key.sign(message)})


def word_of(body: bytes) -> str:
    """What a chat says, or a body that is none."""
    if not body.startswith(b"{"):
        return body.decode("latin-1")
    return str(orjson.loads(body)["messages"][-1].get("content"))


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    """The node, listening."""
    made = Upstream()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(made), "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        made.go_on.set()
        server.close()


class _Connection(asyncio.Protocol):
    def __init__(self, seen: Upstream) -> None:
        self._seen = seen
        self._parser = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.receive_data(data)
            self._read()
        except h11.RemoteProtocolError as error:
            self._seen.broken.append(str(error))
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.resume_writing()
        if self._answering is not None and not self._answering.done():
            self._seen.given_up += 1
            self._answering.cancel()

    def pause_writing(self) -> None:
        self._seen.paused += 1
        self._room.clear()

    def resume_writing(self) -> None:
        if not self._room.is_set():
            self._seen.paused -= 1
            self._room.set()

    def _read(self) -> None:
        while (event := self._parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self._request, self._body = event, bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None
                self._answering = asyncio.ensure_future(self._answer(self._request, bytes(self._body)))
            elif isinstance(event, h11.ConnectionClosed):
                return

    async def _answer(self, request: h11.Request, body: bytes) -> None:
        path = request.target.decode()
        if path == PATH:
            return self._whole(self._seen.challenged(body))
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        self._seen.asked.append(Asked(path, headers, body))
        if path != CHAT:
            return self._whole(body, "text/plain")
        word = word_of(body)
        if word == "silent":
            await asyncio.Event().wait()
        if orjson.loads(body).get("stream"):
            return await self._stream(word)
        if word == "hold":
            await self._seen.go_on.wait()
        message = {"role": "assistant", "content": word}
        return self._whole(orjson.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": message}]}))

    async def _stream(self, word: str) -> None:
        self._begin([("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        self._send(h11.Data(data=_event(word)))
        if word == "hold":
            await self._seen.go_on.wait()
        while word == "flood":
            await self._room.wait()
            await asyncio.sleep(0)
            self._send(h11.Data(data=_FLOOD))
            self._seen.flooded += len(_FLOOD)
        self._send(h11.Data(data=_event("last", "stop") + b"data: [DONE]\n\n"))
        self._end()

    def _whole(self, body: bytes, kind: str = "application/json") -> None:
        self._begin([("Content-Type", kind), ("Content-Length", str(len(body)))])
        self._send(h11.Data(data=body))
        self._end()

    def _begin(self, headers: list[tuple[str, str]]) -> None:
        self._send(h11.Response(status_code=200, headers=headers, reason="OK"))

    def _end(self) -> None:
        self._send(h11.EndOfMessage())
        self._answering = None
        if self._parser.our_state is h11.MUST_CLOSE:
            self._transport.close()
        else:
            self._parser.start_next_cycle()
            self._read()

    def _send(self, event: Any) -> None:
        self._transport.write(self._parser.send(event) or b"")


def _event(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"
