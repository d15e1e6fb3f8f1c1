"""A node that proves its key and answers `/model/proxy` as a test wants it to. In the test's process."""

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
from relay.proxying import ERROR_HEADER
from relay.serving import serve
from relay.target import ROUTE

BODY_LIMIT_BYTES = 1024 * 1024


@dataclass
class Proxied:
    """A running node. `manner` is a status to answer with, or `drop` for a closed connection; `asked` its requests."""

    manner: str
    url: str = ""
    key: NodeKey = field(default_factory=NodeKey.new)
    asked: list[str] = field(default_factory=list)

    async def prove(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        message = challenge_message(asked["nonce"], asked["url"], None, asked["gateway"])
        return web.json_response({"signature": self.key.sign(message)})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(f"{request.method} {body.decode()}")
        if self.manner == "drop":
            assert request.transport is not None
            request.transport.abort()
            await asyncio.Event().wait()
        error = {"message": f"it is {self.manner}", "code": "gateway_not_allowed" if self.manner == "403" else "odd"}
        good: dict[str, object] = {
            "node": self.key.public,
            "model": request.headers["X-Waypost-Model"],
            "path": request.raw_path,
        }
        answer: dict[str, object] = good if self.manner == "200" else {"error": error}
        headers = {ERROR_HEADER: json.dumps(answer)} if request.method == "HEAD" else None
        return web.json_response(answer, status=int(self.manner), headers=headers)


@contextlib.asynccontextmanager
async def proxied_node(manner: str) -> AsyncIterator[Proxied]:
    """The node, listening."""
    node, stop = Proxied(manner), asyncio.Event()
    bound = asyncio.get_running_loop().create_future()
    app = make_app([web.post(PATH, node.prove), web.route("*", ROUTE, node.answer)], body_limit_bytes=BODY_LIMIT_BYTES)
    ready = lambda _, port: bound.set_result(port)  # noqa: E731
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, on_ready=ready, linger_s=0))
    try:
        node.url = f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}"
        yield node
    finally:
        stop.set()
        await task
