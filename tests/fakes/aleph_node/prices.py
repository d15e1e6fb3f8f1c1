"""What a node says of money: balances, and what a message costs or would cost. Not here: counting it (credits)."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.aleph_node.store import Status

if TYPE_CHECKING:
    from tests.fakes.aleph_node.node import Node

_PRICED = ("INSTANCE", "PROGRAM", "STORE")


class Prices:
    """`/api/v0/addresses/{address}/balance`, `/api/v0/price/...`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v0/addresses/{address}/balance", self.balance),
            web.post("/api/v0/price/estimate", self.estimate),
            web.get("/api/v0/price/{item_hash}", self.price),
        ]

    async def balance(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        shown = {"address": address, "balance": "0", "details": {}, "locked_amount": "0"}
        return web.json_response({**shown, "credit_balance": int(self._node.credits.balance(address))})

    async def estimate(self, request: web.Request) -> web.Response:
        message = (await request.json()).get("message")
        if (
            not isinstance(message, dict)
            or message.get("type") not in _PRICED
            or not isinstance(message.get("content"), dict)
        ):
            raise web.HTTPUnprocessableEntity(text="not a message that has a price")
        if hashlib.sha256(str(message.get("item_content")).encode()).hexdigest() != message.get("item_hash"):
            raise web.HTTPUnprocessableEntity(text="'item_hash' does not match 'sha256(item_content)'")
        try:
            return _shown(self._node.credits.a_second(message["type"], message["content"]), message["content"])
        except ValueError as error:
            raise web.HTTPNotFound(reason=str(error)) from None

    async def price(self, request: web.Request) -> web.Response:
        item_hash = request.match_info["item_hash"]
        status = self._node.store.status(item_hash)
        message = self._node.store.message(item_hash)
        if status is None:
            raise web.HTTPNotFound(text=f"Message not found with hash: {item_hash}")
        if status["status"] == Status.FORGOTTEN:
            raise web.HTTPGone(text=f"This message has been forgotten: {item_hash}")
        if message is None or message.type not in _PRICED:
            raise web.HTTPBadRequest(text=f"Message is not an executable or store message: {item_hash}")
        return _shown(self._node.credits.a_second(message.type, message.content), message.content)


def _shown(second: Decimal, content: dict[str, Any]) -> web.Response:
    cost = second.quantize(Decimal("1e-18"))
    payment = (content.get("payment") or {}).get("type", "hold")
    return web.json_response(
        {
            "required_tokens": float(cost),
            "payment_type": payment,
            "cost": str(cost),
            "detail": [],
            "charged_address": content.get("address"),
        }
    )
