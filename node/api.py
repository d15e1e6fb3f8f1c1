"""The node's routes: OpenAI's API over the pool, and what can be asked about the node.

A request enters here, is read by `relay.call`, leased an engine by `pool`, sent by the engine, and carried by
`relay.stream`. Not here: starting and stopping (app), what is said of the node's state (health, metrics).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web

from node.access import Access, Caller
from node.engines.engine import Engine
from node.heartbeat import beating
from node.models import MOST_LOOKUPS, Models, Served, being_replaced
from node.next_life import outliving
from node.openapi import PATHS
from node.pool import Patience, Pool
from node.portions import portion
from node.residents.tenant import Gone
from node.telemetry.gpu_readings import GpuReadings
from node.telemetry.health import Health
from node.telemetry.metrics import Metrics
from node.telemetry.throughput import Throughput
from registry.keys import NodeKey
from relay import answering, openapi
from relay.call import BodyLimits, Call
from relay.endpoints import ENDPOINTS, PREFIXES, Endpoint
from relay.errors import ApiError, UpstreamTimeout
from relay.http import LOAD_HEADER, MODEL_HEADER, NODE_HEADER, make_app
from relay.stream import EarlyStream, relay
from relay.wire.inbound import Inbound
from relay.wire.routes import Handler


@dataclass(frozen=True)
class Waits:
    """Seconds that a request waits for its model: `ready_s`, or `cold_s` for a stream of one loaded on demand.

    Such a stream is kept open by a comment every `keepalive_s`; one whose engine says nothing yet, every `quiet_s`.
    """

    ready_s: float
    cold_s: float
    keepalive_s: float
    quiet_s: float


@dataclass(frozen=True)
class Reports:
    """What is told of the node. `operator`: for whom it is published."""

    health: Health
    metrics: Metrics
    readings: GpuReadings
    throughput: Throughput
    operator: Callable[[], str | None]


class Api:
    """The handlers. `further` are routes of other parts; `waits` may be set anew."""

    def __init__(
        self,
        key: NodeKey,
        access: Access,
        models: Models,
        pool: Pool,
        limits: BodyLimits,
        waits: Waits,
        reports: Reports,
        further: Sequence[web.RouteDef],
    ) -> None:
        self._key = key
        self._access = access
        self._models = models
        self._pool = pool
        self._limits = limits
        self.waits = waits
        self._reports = reports
        self._further = further
        self._created = int(time.time())

    def endpoints(self) -> answering.Api:
        """The endpoints, to be served beside the application."""
        handlers = {f"{base}/{e.path}": self._caller_of(e) for base in PREFIXES for e in ENDPOINTS.values()}
        return answering.Api(handlers, observe=self._reports.metrics.observe)

    def app(self) -> web.Application:
        """The application: everything else."""
        routes: list[web.AbstractRouteDef] = [
            web.get("/health", self._health),
            web.get("/metrics", self._render_metrics),
            web.get("/openapi.json", self._openapi),
            *self._further,
        ]
        for base in PREFIXES:
            routes.append(web.get(f"{base}/models", self._list))
            routes.append(web.get(f"{base}/models/{{model:.+}}", self._item))
        app = make_app(
            routes,
            body_limit_bytes=self._limits.json_bytes,
            headers={NODE_HEADER: self._key.public},
            observe=self._reports.metrics.observe,
        )
        app.on_response_prepare.append(self._part)
        return app

    def _caller_of(self, endpoint: Endpoint) -> Handler:
        async def handle(inbound: Inbound) -> None:
            self._part_soon(inbound)
            caller = self._access.caller(inbound.headers, inbound.peer)
            with self._pool.admitting(), await Call.read(inbound, endpoint, self._limits) as call:
                may_begin = call.stream and endpoint.events.end is not None  # else an answer may be no event stream
                early = EarlyStream(inbound, endpoint.events) if may_begin else None
                try:
                    await self._answer(inbound, call, caller, early)
                except ApiError as error:
                    if early is None:
                        raise
                    early.fail(error)

        return handle

    async def _answer(self, inbound: Inbound, call: Call, caller: Caller, early: EarlyStream | None) -> None:
        """Raises ApiError."""
        wanted = _wanted(inbound, caller, call)
        for _ in range(MOST_LOOKUPS):
            model = self._models.resolve(wanted)
            inbound.model = model.name
            model.require(call.endpoint)
            forward = partial(self._forward, inbound, call, model, caller, early)
            try:
                await outliving(model, forward, call.may_go_elsewhere)
                return
            except Gone:  # another has taken its place meanwhile
                continue
            except ApiError as error:
                error.extra_headers.update(self._load(model, caller))
                raise
        raise being_replaced(model.name)

    async def _forward(
        self, inbound: Inbound, call: Call, model: Served, caller: Caller, early: EarlyStream | None
    ) -> None:
        reports, patience = self._reports, self._patience(model, early)
        wants = portion(call, model.engine.slots)
        async with self._pool.lease(
            model.tenant, share=caller.share, portion=wants, admitted=True, patience=patience
        ) as engine:
            asked_at = time.monotonic()
            with _doubting(engine), beating(early, self.waits.quiet_s):
                asked = await engine.ask(call)
            async with reports.throughput.observed(asked, model.name, call.endpoint.name, asked_at) as answer:
                if answer.streamed:
                    reports.metrics.first_byte(inbound.template, model.name, time.monotonic() - asked_at)
                self._part_soon(inbound)
                broke = partial(_doubt, engine)
                await relay(inbound, answer, call, self._load(model, caller), early=early, broke=broke)

    def _load(self, model: Served, caller: Caller) -> dict[str, str]:
        """Gateways are told how busy the model is, this request counted; nobody else is."""
        return {LOAD_HEADER: str(self._pool.load(model.tenant))} if caller.gateway else {}

    def _part_soon(self, inbound: Inbound) -> None:
        """A node that drains takes no further request on a connection."""
        if self._pool.draining:
            inbound.keep_alive = False

    async def _part(self, _: web.Request, response: web.StreamResponse) -> None:
        if self._pool.draining:
            response.headers["Connection"] = "close"
            response.force_close()

    def _patience(self, model: Served, early: EarlyStream | None) -> Patience:
        """Comments keep a stream open that waits for its model to be loaded."""
        if early is None or model.tenant.kept:
            return Patience(self.waits.ready_s)

        async def beat(seconds: float) -> None:
            await early.comment(f"{model.name} is being loaded; it may answer in {seconds:.0f} s")

        return Patience(max(self.waits.cold_s, self.waits.ready_s), beat, self.waits.keepalive_s)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request.headers)
        items = [model.item(self._created, self._reports.operator()) for model in self._models.served]
        return web.json_response({"object": "list", "data": items})

    async def _item(self, request: web.Request) -> web.StreamResponse:
        self._access.caller(request.headers)
        model = self._models.resolve(request.match_info["model"])
        return web.json_response(model.item(self._created, self._reports.operator()))

    async def _health(self, _: web.Request) -> web.StreamResponse:
        """Says no names of files and no reasons: it is public."""
        body, status = await self._reports.health.answer()
        return web.json_response(body, status=status)

    async def _render_metrics(self, _: web.Request) -> web.StreamResponse:
        return self._reports.metrics.render(await self._reports.readings.latest())

    async def _openapi(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(openapi.document("Waypost node", _version(), PATHS))


def _wanted(inbound: Inbound, caller: Caller, call: Call) -> str:
    """A gateway says in a header which model is meant; from anybody else that header means nothing."""
    return (inbound.headers.get(MODEL_HEADER) if caller.gateway else None) or call.model


@contextmanager
def _doubting(engine: Engine) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        _doubt(engine, error)
        raise


def _doubt(engine: Engine, error: ApiError) -> None:
    """An engine that was silent for too long may be stuck."""
    if isinstance(error, UpstreamTimeout):
        engine.life.doubt()


def _version() -> str:
    try:
        return version("waypost")
    except PackageNotFoundError:
        return "0"
