"""The lists of posts: each original with its latest amend. Not here: anything that a reader could verify."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import ValidationError

from tests.fakes.aleph_node.query import Query, Where, read_query, where

if TYPE_CHECKING:
    from tests.fakes.aleph_node.node import Node


class Posts:
    """`/api/v0/posts.json` and `/api/v1/posts.json`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def list_v0(self, request: web.Request) -> web.Response:
        return web.json_response(self._list(request, _v0))

    async def list_v1(self, request: web.Request) -> web.Response:
        return web.json_response(self._list(request, _v1))

    def _list(self, request: web.Request, show: Any) -> dict[str, Any]:
        query = _query(request.query)
        what = where(query, self._node.misbehaviour.withheld())
        originals = Where(f"{what.text} AND type = 'POST' AND content_type <> 'amend'", what.args, what.order)
        size, total = query.pagination, self._node.store.count(originals)
        found = self._node.store.find(originals, size or -1, 0 if query.cursor else (query.page - 1) * size)
        posts = [show(original, self._latest(original)) for original in found]
        return {
            "posts": posts,
            "pagination_page": query.page,
            "pagination_total": total,
            "pagination_per_page": size,
            "pagination_item": "posts",
        }

    def _latest(self, original: dict[str, Any]) -> dict[str, Any]:
        amends = Where(
            "type = 'POST' AND content_type = 'amend' AND content_ref = ?",
            (original["item_hash"],),
            "content_time DESC, seq DESC",
        )
        return next(iter(self._node.store.find(amends, 1)), original)


def _query(values: Mapping[str, str]) -> Query:
    """Posts call their owner's address `addresses`, and their type `types`."""
    names = {"addresses": "owners", "types": "contentTypes"}
    try:
        return read_query({names.get(name, name): values[name] for name in values})
    except ValidationError as error:
        raise web.HTTPUnprocessableEntity(text=error.json()) from None


def _v0(original: dict[str, Any], latest: dict[str, Any]) -> dict[str, Any]:
    return {
        "chain": original["chain"],
        "item_hash": latest["item_hash"],
        "sender": original["content"]["address"],
        "type": latest["content"]["type"],
        "channel": original["channel"],
        "confirmed": False,
        "content": latest["content"].get("content"),
        "item_content": latest["item_content"],
        "item_type": latest["item_type"],
        "signature": latest["signature"],
        "size": len(json.dumps(latest["content"].get("content"))),
        "time": original["content"]["time"],
        "confirmations": [],
        "original_item_hash": original["item_hash"],
        "original_signature": original["signature"],
        "original_type": original["content"]["type"],
        "hash": original["item_hash"],
        "address": original["content"]["address"],
        "ref": original["content"].get("ref"),
    }


def _v1(original: dict[str, Any], latest: dict[str, Any]) -> dict[str, Any]:
    return {
        "item_hash": latest["item_hash"],
        "content": latest["content"].get("content"),
        "original_item_hash": original["item_hash"],
        "original_type": original["content"]["type"],
        "address": original["content"]["address"],
        "ref": original["content"].get("ref"),
        "channel": original["channel"],
        "created": _date(original["content"]["time"]),
        "last_updated": _date(latest["content"]["time"]),
    }


def _date(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat()
