"""The side door: changing the misbehaviour, reading the counters, and what peers send each other.

`POST /_control` takes one JSON object: settings of misbehaviour.py by name, and these actions, in this order:
  "reset": true         an honest node again
  "reset_counts": true  counters to zero
  "settle": "process" | "reject"   decide on what pending_next held back
  "drop_sockets": true  break every open socket off (setting `answer` to "away" for all does so too)
  "peer": URL           link with another node (both ways) and exchange what there is
  "publish": {message}  take a message as if a peer had sent it
  "credits": {ADDRESS: AMOUNT}   what these addresses have to pay with
  "prices": FACTOR      every price is this many times the list's
`GET /_control` (and the answer to a POST): {"requests": {"GET /api/v0/messages.json": 3, ...}, "served": 3 (their
sum), "sockets_open", "sockets_opened", "socket_messages" (sent), "messages" (in the store), "settings": {...},
"charged": {"INSTANCE 0x...": 1, ...} (how often a message was taken that is paid by credits)}
Faults of single requests: tests/fakes/holding.py.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from tests.fakes.aleph_node.api import place_of
from tests.fakes.aleph_node.message import Malformed
from tests.fakes.aleph_node.misbehaviour import Answer, Place
from tests.fakes.aleph_node.node import Node
from tests.fakes.aleph_node.store import EVERYTHING, Status

_MIB = b" " * 2**20
_DRIP_S = 0.2
_PAGES = {"html": ("<html><body>Bad gateway</body></html>", "text/html"), "invalid_json": ('{"messages": [', None)}


class Control:
    """Owns the counters; `middleware` stands before every public route."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._requests: Counter[str] = Counter()
        self._sockets_before = (0, 0)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_control", self.show),
            web.post("/_control", self.change),
            web.post("/_p2p", self.from_peer),
        ]

    async def show(self, request: web.Request) -> web.Response:
        sockets = self._node.sockets
        return web.json_response(
            {
                "requests": dict(self._requests),
                "served": self._requests.total(),
                "sockets_open": sockets.open,
                "sockets_opened": sockets.opened - self._sockets_before[0],
                "socket_messages": sockets.sent - self._sockets_before[1],
                "messages": self._node.store.count(EVERYTHING),
                "charged": dict(self._node.credits.charges),
                "settings": self._node.misbehaviour.settings.model_dump(mode="json"),
            }
        )

    async def change(self, request: web.Request) -> web.Response:
        body = await request.json()
        actions = {name: body.pop(name, None) for name in _ACTIONS}
        if actions["reset"]:
            self._node.misbehaviour.reset()
        try:
            self._node.misbehaviour.change(body)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        if actions["reset_counts"]:
            self._requests.clear()
            self._sockets_before = (self._node.sockets.opened, self._node.sockets.sent)
        await self._act(actions)
        return await self.show(request)

    async def from_peer(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "hello" in body:
            self._node.greet(body["hello"], back=False)
            return web.json_response({})
        item_hash, text = body["message"]["item_hash"], body["file"]
        if text is not None and hashlib.sha256(text.encode()).hexdigest() == item_hash:
            self._node.store.keep_file(item_hash, text)
        status = self._node.store.status(item_hash)
        if status is None or status["status"] in (Status.PENDING, Status.REJECTED):
            await self._publish(body["message"])
        return web.json_response({})

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Count, then answer as the misbehaviour says."""
        if request.path.startswith("/_"):
            return await handler(request)
        route = request.match_info.route.resource
        self._requests[f"{request.method} {route.canonical if route else request.path}"] += 1
        answer = self._node.misbehaviour.answer(place_of(request.path, request.method))
        if answer is Answer.HONEST:
            return await handler(request)
        return await self._misbehave(request, answer)

    async def _act(self, actions: dict[str, Any]) -> None:
        settings = self._node.misbehaviour.settings
        if actions["settle"]:
            await self._node.settle(reject=actions["settle"] == "reject")
        away = settings.answer is Answer.AWAY and settings.answer_on in (Place.ALL, Place.SOCKET)
        if actions["drop_sockets"] or away:
            self._node.sockets.cut()
        if actions["peer"]:
            self._node.greet(actions["peer"], back=True)
        for owner, amount in (actions["credits"] or {}).items():
            self._node.credits.grant(owner, amount)
        if actions["prices"] is not None:
            self._node.credits.factor = Decimal(str(actions["prices"]))
        if actions["publish"]:
            await self._publish(actions["publish"])

    async def _publish(self, raw: dict[str, Any]) -> None:
        try:
            await self._node.publish(raw)
        except Malformed as error:
            raise web.HTTPBadRequest(text=str(error)) from None

    async def _misbehave(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if answer is Answer.AWAY:
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        if answer is Answer.STALL:
            await asyncio.Event().wait()
        if answer in (Answer.DRIP, Answer.HUGE):
            return await _pour(request, answer)
        if answer is Answer.REDIRECT:
            raise web.HTTPTemporaryRedirect(self._node.misbehaviour.settings.redirect_to)
        return _plain(answer)


_ACTIONS = ("reset", "reset_counts", "settle", "drop_sockets", "peer", "credits", "prices", "publish")


def _plain(answer: Answer) -> web.Response:
    if answer is Answer.BUSY:
        return web.Response(status=429, text="Too many requests", headers={"Retry-After": "1"})
    if answer in (Answer.ERROR, Answer.UNAVAILABLE):
        return web.Response(status=int(answer), text="Internal Server Error")
    if answer is Answer.WRONG_SHAPE:
        return web.json_response({"messages": {"item_hash": 1}, "status": ["processed"]})
    text, kind = _PAGES[answer]
    return web.Response(text=text, content_type=kind or "application/json")


async def _pour(request: web.Request, answer: Answer) -> web.StreamResponse:
    """A head that promises JSON, then too slow or too much of it."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"messages": [')
    for _ in range(1024):
        await response.write(b" " if answer is Answer.DRIP else _MIB)
        if answer is Answer.DRIP:
            await asyncio.sleep(_DRIP_S)
    return response
