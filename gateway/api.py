"""The gateway's routes: OpenAI's API over the directory, and what can be asked about the gateway.

A request enters here, is read by `relay.call`, resolved by `directory`, sent by `failover`, and carried by
`relay.stream`. Not here: wiring, starting and stopping (app).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from aiohttp import web

from gateway import listing
from gateway.challenge import Prover
from gateway.config import GatewayConfig
from gateway.directory import Directory, Route, away
from gateway.failover import Failover
from gateway.groups import Candidate
from gateway.keys import KeyRing
from gateway.metrics import Metrics
from gateway.openapi import PATHS
from gateway.proxying import Proxy
from gateway.refresh import Follower
from relay import openapi
from relay.call import BodyLimits, Call
from relay.endpoints import ENDPOINTS, PREFIXES, PROXY, Endpoint
from relay.errors import Unavailable
from relay.http import NODE_HEADER, Handler, make_app
from relay.stream import relay
from relay.target import PREFIX, ROUTE

_VM = "/vm/{vm}"


class Gateway:
    """The handlers. Every part is passed in."""

    def __init__(
        self,
        config: GatewayConfig,
        keys: KeyRing,
        follower: Follower,
        prover: Prover,
        failover: Failover,
        proxy: Proxy,
        metrics: Metrics,
    ) -> None:
        self._limits = BodyLimits(config.body_limit_bytes, config.upload_limit_bytes)
        self._keys = keys
        self._follower = follower
        self._prover = prover
        self._failover = failover
        self._proxy = proxy
        self._metrics = metrics
        self._listing = listing.Listing()
        self._draining = False
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def app(self) -> web.Application:
        """The application, ready to be served."""
        routes: list[web.AbstractRouteDef] = [
            web.get("/health", self._health),
            web.get("/metrics", self._render_metrics),
            web.get("/openapi.json", self._openapi),
            *(web.route("*", base + ROUTE, self._guarded(self._proxied)) for base in ("", _VM)),
        ]
        for base in (*PREFIXES, *(_VM + prefix for prefix in PREFIXES)):
            routes.append(web.get(f"{base}/models", self._models))
            routes.append(web.get(f"{base}/models/{{model:.+}}", self._model))
            routes += [web.post(f"{base}/{e.path}", self._caller_of(e)) for e in ENDPOINTS.values()]
        return make_app(routes, body_limit_bytes=self._limits.json_bytes, observe=self._metrics.observe)

    async def drain(self, limit_s: float) -> None:
        """Take no more, and return when what runs has ended, or after `limit_s`."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()

    @contextmanager
    def _running(self) -> Iterator[None]:
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    def _guarded(self, carry: Handler) -> Handler:
        """Refuses while this gateway drains, and is waited for when it does."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if self._draining:
                raise Unavailable("This gateway is shutting down.", code="draining", retry_after_s=1)
            with self._running():
                return await carry(request)

        return handle

    async def _proxied(self, request: web.Request) -> web.StreamResponse:
        return await self._proxy.handle(request, lambda model: self._route(request, model, PROXY))

    def _caller_of(self, endpoint: Endpoint) -> Handler:
        async def carry(request: web.Request) -> web.StreamResponse:
            caller = self._keys.caller(request)
            with await Call.read(request, endpoint, self._limits, keep_fields=False) as call:
                route = self._route(request, call.model, endpoint.name)
                caller.require(call.model, call.model.partition("@")[0], route.model)
                answered = self._failover.answered(call, route.model, route.candidates)
                async with answered as (candidate, answer), answer:
                    return await relay(request, answer, call, {NODE_HEADER: candidate.node})

        return self._guarded(carry)

    def _route(self, request: web.Request, model: str, endpoint: str) -> Route:
        directory, now = self._directory, time.time()
        vm = request.match_info.get("vm")
        if vm is None:
            return directory.resolve(model, endpoint, now, self._is_proven)
        return directory.resolve_at(vm, model, endpoint, now, self._is_proven)

    def _is_proven(self, candidate: Candidate) -> bool:
        return self._prover.proven(candidate.identity)

    def _proven(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        return tuple(filter(self._is_proven, candidates))

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": self._listed(request)})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        caller, name, now = self._keys.caller(request), request.match_info["model"], time.time()
        vm = request.match_info.get("vm")
        if vm is None:
            model, candidates = self._directory.meaning(name, now)
        else:
            model, candidates = self._directory.meaning_at(vm, name, now)
        caller.require(name, name.partition("@")[0], model)
        item = listing.describe(model if vm or "@" not in name else name, self._proven(candidates), now)
        if item is None:
            raise away(name)
        return web.json_response(item)

    def _listed(self, request: web.Request) -> list[dict[str, Any]]:
        caller = self._keys.caller(request)
        vm = request.match_info.get("vm")
        directory, now = self._directory, time.time()
        if vm is None:
            items = self._listing.items(lambda: self._described(directory.meanings(), now))
        else:
            items = self._described(directory.meanings_at(vm, now), now)
        return [item for item in items if caller.may_use(item["id"], item["id"].partition("@")[0], *item["aliases"])]

    def _described(self, meant: Iterable[tuple[str, Iterable[Candidate]]], now: float) -> list[listing.Item]:
        described = (listing.describe(name, self._proven(candidates), now) for name, candidates in meant)
        return [item for item in described if item is not None]

    async def _health(self, _: web.Request) -> web.StreamResponse:
        state = "draining" if self._draining else "ready" if self._follower.ready.is_set() else "starting"
        body = {
            "status": state,
            "nodes": len(self._directory),
            "proven": self._prover.proven_count,
            "registries": [asdict(registry) for registry in self._follower.registries()],
        }
        return web.json_response(body, status=200 if state == "ready" else 503)

    async def _render_metrics(self, _: web.Request) -> web.StreamResponse:
        return self._metrics.render()

    async def _openapi(self, _: web.Request) -> web.StreamResponse:
        bases = (*PREFIXES, *(_VM + prefix for prefix in PREFIXES))
        proxies = (PREFIX, _VM + PREFIX)
        return web.json_response(openapi.document("Waypost gateway", version("waypost"), PATHS, bases, proxies))

    @property
    def _directory(self) -> Directory:
        return self._follower.directory
