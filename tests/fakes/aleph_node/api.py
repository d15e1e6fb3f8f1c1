"""The REST routes of a node, in pyaleph's words. Not here: the rules, the misbehaviour, sockets."""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from tests.fakes.aleph_node.credits import AGGREGATES, OWNER
from tests.fakes.aleph_node.files import Files
from tests.fakes.aleph_node.message import Malformed, typed_content
from tests.fakes.aleph_node.misbehaviour import Place
from tests.fakes.aleph_node.node import Node
from tests.fakes.aleph_node.posts import Posts
from tests.fakes.aleph_node.prices import Prices
from tests.fakes.aleph_node.query import Query, encode_cursor, read_query, where
from tests.fakes.aleph_node.store import Status

_TOPIC = "ALEPH-TEST"
_HTTP = {Status.PROCESSED: 200, Status.PENDING: 202, Status.REJECTED: 422}
_PUBLISHED = {"status": "success", "failed": []}


class Api:
    """The handlers; `routes` lists them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._posts = Posts(node)
        self._files = Files(node)
        self._prices = Prices(node)
        self._repeated: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v0/messages", self.publish),
            web.post("/api/v0/ipfs/pubsub/pub", self.publish_deprecated),
            web.post("/api/v0/p2p/pubsub/pub", self.publish_deprecated),
            web.post("/api/v0/storage/add_json", self.add_json),
            *self._files.routes(),
            *self._prices.routes(),
            web.get("/api/v0/messages.json", self.list_messages),
            web.get("/api/v0/messages/page/{page}.json", self.list_messages),
            web.get("/api/v0/messages/{item_hash}", self.one_message),
            web.get("/api/v0/messages/{item_hash}/status", self.message_status),
            web.get("/api/v0/messages/{item_hash}/content", self.message_content),
            web.get("/api/v0/posts.json", self._posts.list_v0),
            web.get("/api/v1/posts.json", self._posts.list_v1),
            web.get("/api/v0/aggregates/{address}.json", self.aggregates),
            web.get("/api/ws0/messages", self._node.sockets.serve),
            web.get("/api/v0/info/public.json", _public_info),
            web.get("/api/v0/version", _version),
            web.get("/version", _version),
        ]

    async def publish(self, request: web.Request) -> web.Response:
        """Without `sync` a real node answers 202 before it has looked; this one has looked by then."""
        try:
            body = await request.json()
        except ValueError:
            raise web.HTTPUnprocessableEntity from None
        if not isinstance(body, dict) or not isinstance(body.get("message"), dict):
            raise web.HTTPUnprocessableEntity(text='[{"type":"missing","loc":["message"],"msg":"Field required"}]')
        status = await self._take(body["message"])
        shown = status if body.get("sync") is True else Status.PENDING
        return web.json_response({"publication_status": _PUBLISHED, "message_status": shown}, status=_HTTP[shown])

    async def publish_deprecated(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("topic") != _TOPIC:
            raise web.HTTPForbidden(reason=f"Unauthorized P2P topic: {body.get('topic')}. Use {_TOPIC}.")
        data = body.get("data")
        if not isinstance(data, str):
            raise web.HTTPUnprocessableEntity(reason="'data': expected a serialized JSON string.")
        await self._take(json.loads(data))
        return web.json_response(_PUBLISHED)

    async def add_json(self, request: web.Request) -> web.Response:
        text = json.dumps(await request.json(), separators=(",", ":"), ensure_ascii=False)
        item_hash = hashlib.sha256(text.encode()).hexdigest()
        self._node.store.keep_file(item_hash, text)
        return web.json_response({"status": "success", "hash": item_hash})

    async def list_messages(self, request: web.Request) -> web.Response:
        query = _query(request)
        if page := request.match_info.get("page"):
            query = query.model_copy(update={"page": int(page)})
        shown = self._by_cursor(query) if query.cursor is not None else self._by_page(query)
        if query.exclude_content:
            for message in shown["messages"]:
                message.pop("content", None)
        return web.json_response(shown)

    async def one_message(self, request: web.Request) -> web.Response:
        store, item_hash = self._node.store, request.match_info["item_hash"]
        status = self._status(item_hash)
        reply: dict[str, Any] = {**_head(status), "message": status["message"]}
        if status["status"] == Status.PROCESSED:
            message = store.shown(item_hash)
            del message["size"]
            message["content"] = typed_content(message)
            reply["message"] = self._node.misbehaviour.forge(message)
        elif status["status"] == Status.PENDING:
            sent = {**status["message"], "reception_time": reply["reception_time"]}
            reply = {**_head(status), "messages": [sent]}
        elif status["status"] == Status.FORGOTTEN:
            reply["forgotten_by"] = status["forgotten_by"]
        else:
            reply |= {"error_code": status["error_code"], "details": status["details"]}
        return web.json_response(reply)

    async def message_status(self, request: web.Request) -> web.Response:
        return web.json_response(_head(self._status(request.match_info["item_hash"])))

    async def message_content(self, request: web.Request) -> web.Response:
        status = self._status(request.match_info["item_hash"])
        message = self._node.store.message(status["item_hash"])
        if message is None or message.type != "POST":
            raise web.HTTPUnprocessableEntity(text=f"Invalid message hash status {status['status']}")
        return web.json_response(message.content.get("content"))

    async def aggregates(self, request: web.Request) -> web.Response:
        """No signature comes with it, so a reader can check nothing."""
        address = request.match_info["address"]
        keys = request.query["keys"].split(",") if "keys" in request.query else None
        found = {} if self._node.misbehaviour.settings.withhold_all else self._node.store.aggregates(address)
        if address == OWNER and not self._node.misbehaviour.settings.withhold_all:
            found = {**AGGREGATES, **found}
        data = {key: value for key, value in found.items() if keys is None or key in keys}
        if not data:
            raise web.HTTPNotFound(text="No aggregate found for this address")
        return web.json_response({"address": address, "data": data})

    async def _take(self, raw: dict[str, Any]) -> Status:
        try:
            return await self._node.publish(raw)
        except Malformed:
            raise web.HTTPUnprocessableEntity(text="InvalidMessageFormat") from None

    def _status(self, item_hash: str) -> dict[str, Any]:
        status = self._node.store.status(item_hash)
        if status is None or self._withheld(status):
            raise web.HTTPNotFound
        return status

    def _withheld(self, status: dict[str, Any]) -> bool:
        message = self._node.store.message(status["item_hash"])
        faults = self._node.misbehaviour
        if message is None:
            return status["item_hash"] in faults.settings.withhold_hashes
        return faults.withholds({"item_hash": message.item_hash, "sender": message.sender, "time": message.time})

    def _by_page(self, query: Query) -> dict[str, Any]:
        faults, what = self._node.misbehaviour, where(query, self._node.misbehaviour.withheld())
        total, size = self._node.store.count(what), query.pagination
        page = faults.page(query.page, -(-total // size) if size else 1)
        found = self._node.store.find(what, size or -1, (page - 1) * size)
        return {
            "messages": faults.messages(found),
            "pagination_per_page": size,
            "pagination_page": query.page,
            "pagination_total": total if faults.settings.total is None else faults.settings.total,
            "pagination_item": "messages",
        }

    def _by_cursor(self, query: Query) -> dict[str, Any]:
        faults, size = self._node.misbehaviour, query.pagination
        try:
            what = where(query, faults.withheld())
        except ValueError as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from None
        found = self._node.store.find(what, size + 1 if size else -1)
        page, more = (found[:size], len(found) > size) if size else (found, False)
        cursor = encode_cursor(page[-1]["time"], page[-1]["item_hash"]) if more else None
        if faults.settings.endless and page:
            cursor = cursor or encode_cursor(*((9e9, "~") if query.sort_order == -1 else (0.0, "")))
        if faults.settings.repeat_pages and query.cursor and query.cursor not in self._repeated:
            self._repeated.add(query.cursor)
            cursor = query.cursor
        return {
            "messages": faults.messages(page),
            "pagination_per_page": size,
            "has_more": cursor is not None,
            "next_cursor": cursor,
        }


def place_of(path: str, method: str) -> Place:
    """What kind of request this is, for misbehaviour that is limited to one kind."""
    if path.startswith("/api/ws0/"):
        return Place.SOCKET
    if method == "POST" and path in ("/api/v0/messages", "/api/v0/ipfs/pubsub/pub", "/api/v0/p2p/pubsub/pub"):
        return Place.PUBLISH
    if path.endswith(("messages.json", "posts.json")) or path.startswith("/api/v0/messages/page/"):
        return Place.PAGES
    return Place.MESSAGE if path.startswith("/api/v0/messages/") else Place.OTHER


def _query(request: web.Request) -> Query:
    try:
        return read_query(request.query)
    except ValidationError as error:
        raise web.HTTPUnprocessableEntity(text=error.json()) from None


def _head(status: dict[str, Any]) -> dict[str, Any]:
    received = datetime.datetime.fromtimestamp(status["reception_time"], datetime.UTC)
    return {"status": status["status"], "item_hash": status["item_hash"], "reception_time": received.isoformat()}


async def _public_info(request: web.Request) -> web.Response:
    return web.json_response({"node_multi_addresses": []})


async def _version(request: web.Request) -> web.Response:
    return web.json_response({"version": "fake"})
