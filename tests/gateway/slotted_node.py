"""A node with so many slots and no more: a request holds one until the test lets it end. In the test's process.

It proves its key, queues a few requests before its slots, refuses what is beyond that with 429, and counts breaches.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from gateway.challenge import PATH
from registry.keys import NodeKey
from registry.signing import challenge_message
from relay.errors import TooManyRequests
from relay.http import LOAD_HEADER, make_app
from relay.serving import serve


@dataclass
class Slotted:
    """A running node. `served` says whose requests were begun, in order; whose it is stands in `user` of the body."""

    slots: int
    queue: int = 2
    url: str = ""
    key: NodeKey = field(default_factory=NodeKey.new)
    served: list[str] = field(default_factory=list)
    running: deque[asyncio.Future[None]] = field(default_factory=deque)
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    refused: int = 0
    load: str = ""  # what it says of itself

    @property
    def by_caller(self) -> Counter[str]:
        return Counter(self.served)

    def release(self, count: int = 1) -> None:
        """So many answers come to their end, the oldest first; whoever waits has their slots."""
        for _ in range(min(count, len(self.running))):
            self.running.popleft().set_result(None)
            self._hand_on()

    def _hand_on(self) -> None:
        """A slot is free: whoever waits has it."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        loop = asyncio.get_running_loop()
        if len(self.running) >= self.slots:
            if len(self.waiting) >= self.queue:
                self.refused += 1
                raise TooManyRequests("All slots are taken.", code="busy", retry_after_s=1)
            turn = loop.create_future()
            self.waiting.append(turn)
            await turn
        slot = loop.create_future()
        self.running.append(slot)
        self.served.append(str(body.get("user", "")))
        try:
            return await _answer(request, body, slot, {LOAD_HEADER: self.load} if self.load else {})
        finally:
            if slot in self.running:  # its client has left
                self.running.remove(slot)
                self._hand_on()

    async def prove(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        message = challenge_message(asked["nonce"], asked["url"], None, asked["gateway"])
        return web.json_response({"signature": self.key.sign(message)})


async def _answer(
    request: web.Request, body: dict[str, object], slot: asyncio.Future[None], headers: dict[str, str]
) -> web.StreamResponse:
    if not body.get("stream"):
        await slot
        choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice]}, headers=headers)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
    await response.prepare(request)
    await response.write(_piece("first"))
    await slot
    await response.write(_piece("last", "stop") + b"data: [DONE]\n\n")
    return response


def _piece(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@contextlib.asynccontextmanager
async def slotted_node(slots: int, queue: int = 2) -> AsyncIterator[Slotted]:
    """The node, listening."""
    node = Slotted(slots, queue)
    bound, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    routes = [web.post(PATH, node.prove), web.post("/v1/chat/completions", node.chat)]
    app = make_app(routes, body_limit_bytes=100_000)
    ready = lambda _, port: bound.set_result(port)  # noqa: E731
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, on_ready=ready, linger_s=0))
    try:
        node.url = f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}"
        yield node
    finally:
        node.release(len(node.running))
        stop.set()
        await task
