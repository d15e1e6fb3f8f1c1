"""A node that does to each request what it was told to, in turn, and then answers well. In the test's process.

It keeps the protocol: of what it says each status has OpenAI's envelope, and a busy one says when to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from aiohttp import web

from gateway.groups import Candidate
from relay.errors import ApiError, BadRequest, BadUpstream, Forbidden, NotFound, TooManyRequests, Unavailable
from relay.http import make_app
from relay.serving import serve
from tests.gateway.adverts import believed, offer

_ERRORS: dict[str, ApiError] = {
    "broken": BadUpstream("the engine broke", code="engine_broken"),
    "busy": TooManyRequests("all slots are taken", code="busy", retry_after_s=1),
    "busy long": TooManyRequests("all slots are taken", code="busy", retry_after_s=600),
    "draining": Unavailable("the node drains", code="draining", retry_after_s=1),
    "cold": Unavailable("not loaded", code="model_cold", retry_after_s=30),
    "wrong": BadRequest("no such role", param="messages", code="invalid_role"),
    "long": BadRequest("too many tokens", code="context_length_exceeded"),
    "forbidden": Forbidden("not this gateway", code="gateway_not_allowed"),
    "unknown": NotFound("no such model here", code="model_not_found"),
}


@dataclass
class Moody:
    """A running node. `moods`: what befalls the requests to come; `asked` counts API requests, `polled` probes."""

    name: str
    url: str = ""
    moods: list[str] = field(default_factory=list)
    health: int = 200
    asked: int = 0
    polled: int = 0
    most_at_once: int = 0
    _at_once: int = 0

    def candidate(self, model: str = "m", context_length: int = 4096) -> Candidate:
        """As the gateway would know it."""
        made = offer(model, context_length=context_length)
        known = believed("op", self.name, made)
        return Candidate(replace(known, advert=known.advert.model_copy(update={"url": self.url})), made)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await request.read()
            mood = self.moods.pop(0) if self.moods else "fine"
            if mood == "silent":
                await asyncio.sleep(3600)
            if mood == "reset":
                assert request.transport is not None
                request.transport.abort()
            if mood in _ERRORS:
                told = _ERRORS[mood]
                raise type(told)(told.message, param=told.param, code=told.code, retry_after_s=told.retry_after_s)
            return web.json_response({"id": "x", "object": "chat.completion", "choices": []})
        finally:
            self._at_once -= 1

    async def say_health(self, _: web.Request) -> web.StreamResponse:
        self.polled += 1
        return web.json_response({}, status=self.health)


@contextlib.asynccontextmanager
async def moody_node(name: str, *moods: str, port: int = 0) -> AsyncIterator[Moody]:
    """Listening for as long as the context lasts."""
    node = Moody(name, moods=list(moods))
    bound, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    routes = [web.post("/v1/chat/completions", node.chat), web.get("/health", node.say_health)]
    app = make_app(routes, body_limit_bytes=10_000)
    ready = lambda _, port: bound.set_result(port)  # noqa: E731
    task = asyncio.create_task(serve(app, "127.0.0.1", port, stop=stop, on_ready=ready, linger_s=0))
    try:
        node.url = f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}"
        yield node
    finally:
        stop.set()
        await task
