"""A node that proves its key, and holds every stream in its midst until it is told to go on. In the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from gateway.challenge import PATH
from registry.keys import NodeKey
from registry.signing import challenge_message
from relay.http import make_app
from relay.serving import serve


@dataclass
class Held:
    """A running node; set `go_on` and its streams come to their end. It proves its key while `proves` is set."""

    url: str
    key: NodeKey
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    proves: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def held_node() -> AsyncIterator[Held]:
    """The node, listening."""
    bound, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    held = Held("", NodeKey.new())
    held.proves.set()

    async def prove(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        held.asked.set()
        await held.proves.wait()
        message = challenge_message(asked["nonce"], asked["url"], None, asked["gateway"])
        return web.json_response({"signature": held.key.sign(message)})

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body.get("stream"):
            return web.json_response({"id": "x", "object": "chat.completion", "choices": []})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_piece("first"))
        await held.go_on.wait()
        await response.write(_piece("last", "stop") + b"data: [DONE]\n\n")
        return response

    routes = [web.post(PATH, prove), web.post("/v1/chat/completions", chat)]
    app = make_app(routes, body_limit_bytes=100_000)
    ready = lambda _, port: bound.set_result(port)  # noqa: E731
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, on_ready=ready, linger_s=0))
    try:
        held.url = f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}"
        yield held
    finally:
        stop.set()
        await task


def _piece(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
