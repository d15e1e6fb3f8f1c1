"""A node that has some of its models loaded and says of the others that they are not. In the test's process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from gateway.challenge import PATH
from registry.keys import NodeKey
from registry.signing import challenge_message
from relay.errors import BadUpstream, TooManyRequests, Unavailable
from relay.http import MODEL_HEADER, make_app
from relay.serving import serve


@dataclass
class Loading:
    """A running node. `loaded` answer, of the others it says `code`; `asked` are the models it was asked for."""

    url: str = ""
    key: NodeKey = field(default_factory=NodeKey.new)
    loaded: set[str] = field(default_factory=set)
    code: str = "model_cold"
    retry_after_s: int = 7
    asked: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)  # until then it holds its answers

    async def prove(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        message = challenge_message(asked["nonce"], asked["url"], None, asked["gateway"])
        return web.json_response({"signature": self.key.sign(message)})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        model = request.headers[MODEL_HEADER]
        self.asked.append(model)
        await self.go_on.wait()
        if self.code == "busy":
            raise TooManyRequests("busy", code="busy", retry_after_s=self.retry_after_s)
        if self.code == "broken":
            raise BadUpstream("broken", code="broken")
        if model not in self.loaded:
            raise Unavailable(f"{model} is not loaded", code=self.code, retry_after_s=self.retry_after_s)
        return web.json_response({"id": "x", "object": "chat.completion", "choices": []})


@contextlib.asynccontextmanager
async def loading_node(*loaded: str, code: str = "model_cold", retry_after_s: int = 7) -> AsyncIterator[Loading]:
    """The node, listening."""
    bound, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    node = Loading(loaded=set(loaded), code=code, retry_after_s=retry_after_s)
    node.go_on.set()
    app = make_app([web.post(PATH, node.prove), web.post("/v1/chat/completions", node.chat)], body_limit_bytes=100_000)
    ready = lambda _, port: bound.set_result(port)  # noqa: E731
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, on_ready=ready, linger_s=0))
    try:
        node.url = f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}"
        yield node
    finally:
        node.go_on.set()
        stop.set()
        await task
