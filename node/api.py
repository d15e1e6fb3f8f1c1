"""The node's routes: OpenAI's API over the pool, and what can be asked about the node.

A request enters here, is read by `relay.call`, leased an engine by `pool`, sent by the engine, and carried by
`relay.stream`. Not here: starting and stopping (app).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web

from node.access import Access, Caller
from node.advertiser import Advertiser
from node.metrics import MODEL, Metrics
from node.models import Models, Served
from node.next_life import outliving
from node.openapi import PATHS
from node.pool import Pool
from registry.keys import NodeKey
from relay import openapi
from relay.call import BodyLimits, Call
from relay.endpoints import ENDPOINTS, PREFIXES, Endpoint
from relay.errors import Unavailable
from relay.http import MODEL_HEADER, NODE_HEADER, Handler, make_app
from relay.stream import relay

_RETRY_S = 2


class Api:
    """The handlers. `further` are routes of other parts; `begin` hands over what is served, once it is known."""

    def __init__(
        self,
        key: NodeKey,
        access: Access,
        further: Sequence[web.RouteDef],
        metrics: Metrics,
        advertiser: Advertiser | None,
        limits: BodyLimits,
    ) -> None:
        self._key = key
        self._access = access
        self._further = further
        self._metrics = metrics
        self._advertiser = advertiser
        self._limits = limits
        self._created = int(time.time())
        self._serving: tuple[Models, Pool] | None = None

    def begin(self, models: Models, pool: Pool) -> None:
        """From now on, these are served."""
        self._serving = (models, pool)

    def app(self) -> web.Application:
        """The application, ready to be served."""
        routes: list[web.AbstractRouteDef] = [
            web.get("/health", self._health),
            web.get("/metrics", self._render_metrics),
            web.get("/openapi.json", self._openapi),
            *self._further,
        ]
        for base in PREFIXES:
            routes.append(web.get(f"{base}/models", self._models))
            routes.append(web.get(f"{base}/models/{{model:.+}}", self._model))
            routes += [web.post(f"{base}/{e.path}", self._caller_of(e)) for e in ENDPOINTS.values()]
        return make_app(
            routes,
            body_limit_bytes=self._limits.json_bytes,
            headers={NODE_HEADER: self._key.public},
            observe=self._metrics.observe,
        )

    def _caller_of(self, endpoint: Endpoint) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = self._access.caller(request.headers)
            models, pool = self.ready()
            with pool.admitting(), await Call.read(request, endpoint, self._limits) as call:
                model = models.resolve(_wanted(request, caller, call))
                request[MODEL] = model.name
                model.require(endpoint)
                return await outliving(model, lambda: _forward(request, call, model, pool), call.may_go_elsewhere)

        return handle

    async def _models(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request.headers)
        models, _ = self.ready()
        items = [model.item(self._created, self._operator) for model in models.served]
        return web.json_response({"object": "list", "data": items})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request.headers)
        models, _ = self.ready()
        return web.json_response(models.resolve(request.match_info["model"]).item(self._created, self._operator))

    @property
    def _operator(self) -> str | None:
        return self._advertiser.operator if self._advertiser else None

    async def _health(self, _: web.Request) -> web.StreamResponse:
        """200 when every model that could be opened is ready. Says no names of files and no reasons: it is public."""
        if self._serving is None:
            return web.json_response({"status": "starting", "models": {}}, status=503)
        models, pool = self._serving
        ready = all(model.ready for model in models.served)
        state = "draining" if pool.draining else "ready" if ready else "starting"
        found = {model.name: _condition(model, pool) for model in models.served}
        found |= {name: {"state": "failed"} for name in models.failed}
        boards = self._advertiser.standings if self._advertiser else []
        body = {"status": state, "models": found, "registries": boards}
        return web.json_response(body, status=200 if state == "ready" else 503)

    async def _render_metrics(self, _: web.Request) -> web.StreamResponse:
        return self._metrics.render()

    async def _openapi(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(openapi.document("Waypost node", _version(), PATHS))

    def ready(self) -> tuple[Models, Pool]:
        """What is served. Raises Unavailable while the node starts."""
        if self._serving is None:
            raise Unavailable("This node is starting.", code="starting", retry_after_s=_RETRY_S)
        return self._serving


async def _forward(request: web.Request, call: Call, model: Served, pool: Pool) -> web.StreamResponse:
    async with pool.lease(model.name, admitted=True) as engine, await engine.ask(call) as answer:
        return await relay(request, answer, call)


def _wanted(request: web.Request, caller: Caller, call: Call) -> str:
    """A gateway says in a header which model is meant; from anybody else that header means nothing."""
    return (request.headers.get(MODEL_HEADER) if caller.gateway else None) or call.model


def _condition(model: Served, pool: Pool) -> dict[str, object]:
    life = model.engine.life
    return {
        "state": life.state.value,
        "starts": life.starts,
        "slots": model.engine.slots,
        "in_flight": pool.in_flight(model.name),
        "waiting": pool.waiting(model.name),
    }


def _version() -> str:
    try:
        return version("waypost")
    except PackageNotFoundError:
        return "0"
