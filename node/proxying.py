"""`/model/proxy/{path}` on a node: a model's own engine, at the paths that its settings open.

Not here: reading and carrying (relay.proxying), and which paths are open by default (engines).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from aiohttp import web

from node.access import Access, Caller
from node.models import MOST_LOOKUPS, Models, Served, being_replaced
from node.next_life import outliving
from node.pool import Pool
from node.residents.tenant import Gone
from relay import websockets
from relay.call import BodyLimits
from relay.endpoints import PROXY
from relay.errors import Forbidden, unsupported
from relay.http import MODEL
from relay.limits import Limits
from relay.proxy_call import checked
from relay.proxying import ProxyCall, carry, read, send, telling
from relay.target import ROUTE


class Proxy:
    """The handler."""

    def __init__(self, access: Access, models: Models, pool: Pool, body_limits: BodyLimits, limits: Limits) -> None:
        self._access = access
        self._models = models
        self._pool = pool
        self._body_limits = body_limits
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """Every method, on every path."""
        return [web.route("*", ROUTE, self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request, from its head to the engine's last byte."""
        with telling(request):
            return await self._handle(request)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        caller = self._access.caller(request.headers, request.remote or "")
        with self._pool.admitting():
            async with read(request, self._body_limits, self._limits.head_s) as call:
                return await self._answer(request, call, caller)

    async def _answer(self, request: web.Request, call: ProxyCall, caller: Caller) -> web.StreamResponse:
        for _ in range(MOST_LOOKUPS):
            model = self._models.resolve(call.model)
            request[MODEL] = model.name
            check_open(model, call.target.path)
            forward = partial(self._forward, request, call, model, caller)
            with contextlib.suppress(Gone):  # another has taken its place meanwhile
                return await outliving(model, forward, call.may_go_elsewhere)
        raise being_replaced(model.name)

    async def _forward(
        self, request: web.Request, call: ProxyCall, model: Served, caller: Caller
    ) -> web.StreamResponse:
        async with self._pool.lease(model.tenant, share=caller.share, admitted=True) as engine:
            door = engine.door
            if call.websocket:
                headers = {**call.headers, **door.headers}
                url = call.target.url(door.url)
                upstream = await websockets.connect(door.session, request, url, headers, self._limits)
                return await websockets.relay(request, upstream, self._limits, {})
            if door.check is not None:
                call = await checked(call, door.check, self._body_limits.json_bytes)
            answer = await send(door.session, door.url, call, door.headers, self._limits, door.judge)
            async with answer:
                return await carry(request, answer, self._limits)


def check_open(model: Served, path: str) -> None:
    """Raises ApiError unless the model's settings open that path of its engine."""
    if PROXY not in model.endpoints:
        raise unsupported(model.name, PROXY, model.endpoints)
    if not is_open(model.proxied, path):
        raise Forbidden(
            f"{path!r} of {model.name!r} is not open; open are: {', '.join(model.proxied)}. "
            f'Its operator can open it: proxy = ["{path}"] in [node.models."{model.name}"].',
            code="path_not_allowed",
        )


def is_open(entries: Sequence[str], path: str) -> bool:
    """Whether a decoded path is one of the entries, or below one that ends in `/*`."""
    return any(path.startswith(entry[:-1]) if entry.endswith("/*") else path == entry for entry in entries)
