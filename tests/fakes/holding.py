"""A fault at one kind of request, before or after its effect, for fakes of hosts: a middleware and its side door.

`POST /_faults {"at": WORDS, "when": "before" | "after", "act": "hold" | "500" | "drop", "times": 1}` arms one; `at` is
matched against "METHOD /path" and, for a message, its type behind that. "hold" never answers: whoever asked can be
killed meanwhile. `GET /_faults` says how many requests each was met by; `DELETE` takes all away and lets go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass
class _Fault:
    at: str
    when: str
    act: str
    left: int
    met: int = 0


class Holding:
    """Owns the faults."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._let_go = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/_faults", self.arm), web.get("/_faults", self.show), web.delete("/_faults", self.clear)]

    async def arm(self, request: web.Request) -> web.Response:
        told: dict[str, Any] = await request.json()
        self._faults.append(_Fault(told["at"], told["when"], told["act"], told.get("times", 1)))
        return web.json_response({})

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response([fault.met for fault in self._faults])

    async def clear(self, request: web.Request) -> web.Response:
        self._faults.clear()
        self._let_go.set()
        self._let_go = asyncio.Event()
        return web.json_response({})

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith("/_"):
            return await handler(request)
        fault = await self._meant(request)
        if fault is None:
            return await handler(request)
        fault.left -= 1
        if fault.when == "after":
            await asyncio.shield(handler(request))
        fault.met += 1
        return await self._answer(request, fault)

    async def _answer(self, request: web.Request, fault: _Fault) -> web.StreamResponse:
        if fault.act == "hold":
            await self._let_go.wait()
        if fault.act != "500" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=500, text="Internal Server Error")

    async def _meant(self, request: web.Request) -> _Fault | None:
        armed = [fault for fault in self._faults if fault.left > 0]
        if not armed:
            return None
        said = f"{request.method} {request.path}"
        if request.method == "POST" and request.content_type == "application/json":
            body = await request.json()
            message = body.get("message") if isinstance(body, dict) else None
            said += f" {message.get('type')}" if isinstance(message, dict) else ""
        return next((fault for fault in armed if fault.at in said), None)
