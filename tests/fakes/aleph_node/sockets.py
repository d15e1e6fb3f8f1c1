"""`/api/ws0/messages`: the last messages first, then each new one that the reader's filters let through."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

from aiohttp import WSCloseCode, web
from pydantic import ValidationError

from tests.fakes.aleph_node.message import Message, typed_content
from tests.fakes.aleph_node.misbehaviour import Misbehaviour
from tests.fakes.aleph_node.query import read_query, where
from tests.fakes.aleph_node.store import Store

_SLOW_S = 5.0
_GARBAGE = ("not json", "[]", '{"item_hash": 1}', '{"type":"POST"}')


class _Socket:
    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self.query = read_query(request.query)
        self.transport = request.transport
        self.sent = 0


class Sockets:
    """Owns the open sockets."""

    def __init__(self, store: Store, misbehaviour: Misbehaviour) -> None:
        self._store = store
        self._misbehaviour = misbehaviour
        self._open: set[_Socket] = set()
        self.opened = 0
        self.sent = 0

    @property
    def open(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The life of one socket."""
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        try:
            socket = _Socket(ws, request)
        except ValidationError:
            await ws.close(code=WSCloseCode.UNSUPPORTED_DATA)
            return ws
        self._open.add(socket)
        self.opened += 1
        try:
            await self._send_history(socket)
            async for _ in ws:
                pass
        finally:
            self._open.discard(socket)
        return ws

    async def announce(self, message: Message) -> None:
        """Send a new message to whom it concerns."""
        shown = {**asdict(message), "confirmed": False, "confirmations": []}
        del shown["size"]
        await asyncio.gather(
            *(self._send(socket, shown) for socket in list(self._open) if socket.query.matches(message))
        )

    def cut(self) -> int:
        """Break every socket off without a closing frame; returns how many."""
        cut = list(self._open)
        for socket in cut:
            if socket.transport is not None:
                socket.transport.abort()
        return len(cut)

    async def close(self) -> None:
        await asyncio.gather(*(socket.ws.close(code=WSCloseCode.GOING_AWAY) for socket in list(self._open)))

    async def _send_history(self, socket: _Socket) -> None:
        if socket.query.history:
            what = where(socket.query, self._misbehaviour.withheld())
            for message in reversed(self._store.find(what, socket.query.history)):
                message.pop("size")
                await self._send(socket, message)

    async def _send(self, socket: _Socket, message: dict[str, Any]) -> None:
        settings = self._misbehaviour.settings
        if settings.ws_silent or self._misbehaviour.withholds(message) or self._misbehaviour.skips():
            return
        typed = {**message, "content": typed_content(message)}
        if socket.query.exclude_content:
            del typed["content"]
        texts = [json.dumps(self._misbehaviour.forge(typed))] * (2 if settings.ws_duplicate else 1)
        try:
            async with asyncio.timeout(_SLOW_S):
                await self._write(socket, texts)
        except (ConnectionResetError, TimeoutError):
            return
        if settings.ws_drop_after is not None and socket.sent >= settings.ws_drop_after:
            await socket.ws.close(code=WSCloseCode.GOING_AWAY)

    async def _write(self, socket: _Socket, texts: list[str]) -> None:
        for garbage in _GARBAGE if self._misbehaviour.settings.ws_garbage else ():
            await socket.ws.send_str(garbage)
        for text in texts:
            await socket.ws.send_str(text)
            self.sent += 1
            socket.sent += 1
