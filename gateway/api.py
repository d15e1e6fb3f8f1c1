"""The gateway's routes: OpenAI's API over the directory, and what can be asked about the gateway.

A request of the API enters here, is read by `relay.call`, resolved by `directory`, sent by `attempts` to one node after
another, and carried by `relay.stream`, or by `resuming` where a stream can be brought to its end elsewhere.
Not here: wiring, starting and stopping (app).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import Any

from aiohttp import web

from gateway import listing
from gateway.admission.callers import address_of
from gateway.admission.quotas import Quotas
from gateway.attempts import Attempts
from gateway.config import GatewayConfig
from gateway.directory import Directory, Route, away
from gateway.failover import Failover
from gateway.fallbacks import Fallbacks
from gateway.groups import Candidate
from gateway.keys import ANYBODY, Caller, KeyRing
from gateway.limits import LimitsOf
from gateway.metrics import Metrics
from gateway.openapi import PATHS
from gateway.proxying import Proxy
from gateway.resuming.resume import Resuming, names
from gateway.resuming.ways import is_resumable
from gateway.running import Running
from gateway.tiers import Tiers, tiers_of
from gateway.usage import noticed
from gateway.workers.truth import Proofs, Truth
from relay import openapi
from relay.answering import Api
from relay.call import BodyLimits, Call
from relay.endpoints import ENDPOINTS, PREFIXES, PROXY, Endpoint
from relay.errors import ApiError
from relay.http import make_app
from relay.stream import relay
from relay.target import PREFIX, ROUTE
from relay.wire.inbound import Inbound
from relay.wire.routes import Handler

_VM = "/vm/{vm}"
_BASES = (*PREFIXES, *(_VM + prefix for prefix in PREFIXES))


class Gateway:
    """The handlers. Every part is passed in."""

    def __init__(
        self,
        config: GatewayConfig,
        keys: KeyRing,
        truth: Truth,
        proofs: Proofs,
        failover: Failover,
        attempts: Attempts,
        limits: LimitsOf,
        proxy: Proxy,
        metrics: Metrics,
        quotas: Quotas | None = None,
    ) -> None:
        self._quotas = quotas or Quotas(config.key_parallel, config.key_rpm)
        self._limits = BodyLimits(config.body_limit_bytes, config.upload_limit_bytes)
        self._keys = keys
        self._truth = truth
        self._proofs = proofs
        self._failover = failover
        self._attempts = attempts
        self._limits_of = limits
        self._fallbacks = Fallbacks(config.fallback)
        self._resuming = Resuming(
            failover, attempts, limits, config.resume, config.keepalive_s,
            lambda way, whole: metrics.resumed(way.value, whole=whole),
        )  # fmt: skip
        self._proxy = proxy
        self._metrics = metrics
        metrics.tasks()
        self._listing = listing.Listing()
        self._running = Running(config.notice_s)

    def api(self) -> Api:
        """The endpoints, to be served beside the application."""
        handlers = {f"{base}/{e.path}": self._caller_of(e) for base in _BASES for e in ENDPOINTS.values()}
        return Api(handlers, observe=self._metrics.observe)

    def app(self) -> web.Application:
        """The application: everything else."""
        routes: list[web.AbstractRouteDef] = [
            web.get("/health", self._health),
            web.get("/metrics", self._render_metrics),
            web.get("/openapi.json", self._openapi),
            *(web.route("*", base + ROUTE, self._proxied) for base in ("", _VM)),
        ]
        for base in _BASES:
            routes.append(web.get(f"{base}/models", self._models))
            routes.append(web.get(f"{base}/models/{{model:.+}}", self._model))
        return make_app(routes, body_limit_bytes=self._limits.json_bytes, observe=self._metrics.observe)

    def refuse(self) -> None:
        """Say in /health that this ends, and take no more: from the next request on, if no notice is to be given."""
        self._running.end()

    async def drain(self, limit_s: float) -> None:
        """The same, and return when, after the notice, what runs has ended, or `limit_s` later."""
        await self._running.drain(limit_s)

    async def _proxied(self, request: web.Request) -> web.StreamResponse:
        with self._running:
            vm = request.match_info.get("vm")
            return await self._proxy.handle(request, lambda model: self._route(vm, model, PROXY))

    def _caller_of(self, endpoint: Endpoint) -> Handler:
        async def carry(inbound: Inbound) -> None:
            with self._running:
                caller = self._keys.caller(inbound.headers)
                who = address_of(inbound.peer) if caller is ANYBODY else caller.name
                with self._quotas.enter(caller, who) as held:
                    inbound.extra = held.lines
                    await self._carry(inbound, endpoint, caller, who)

        return carry

    async def _carry(self, inbound: Inbound, endpoint: Endpoint, caller: Caller, who: str) -> None:
        with await Call.read(inbound, endpoint, self._limits, keep_fields=False) as call:
            vm = inbound.vm

            def tiers() -> Tiers:
                resolve = lambda name: self._route(vm, name, endpoint.name)  # noqa: E731
                return tiers_of(call, caller, self._fallbacks, resolve)

            answer = self._resuming.answer if is_resumable(call) else self._answer
            self._metrics.took(caller.name, *noticed(await answer(inbound, call, tiers, who)))

    async def _answer(self, inbound: Inbound, call: Call, resolve: Callable[[], Tiers], who: str) -> bytes:
        tiers = resolve()
        queue_s = self._limits_of.of(tiers[0][0].offer.model).queue_s
        asking = partial(self._failover.ask, call)
        place, answer = await self._attempts.find(call, tiers, asking, (ApiError,), queue_s, who, resolve)
        try:
            candidate = place.candidate
            broke = partial(self._attempts.broke, candidate)
            return await relay(inbound, answer, call, names(candidate), broke=broke)
        finally:
            answer.close()
            self._attempts.end(place)

    def _route(self, vm: str | None, model: str, endpoint: str) -> Route:
        directory, now = self._directory, time.time()
        if vm is None:
            return directory.resolve(model, endpoint, now, self._is_proven)
        return directory.resolve_at(vm, model, endpoint, now, self._is_proven)

    def _is_proven(self, candidate: Candidate) -> bool:
        return self._proofs.proven(candidate.identity)

    def _proven(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        return tuple(filter(self._is_proven, candidates))

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": self._listed(request)})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        caller, name, now = self._keys.caller(request.headers), request.match_info["model"], time.time()
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
        caller = self._keys.caller(request.headers)
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
        state = "draining" if self._running.ending else "ready" if self._truth.ready.is_set() else "starting"
        body = {
            "status": state,
            "nodes": len(self._directory),
            "proven": self._proofs.proven_count,
            "registries": [asdict(registry) for registry in self._truth.registries()],
        }
        return web.json_response(body, status=200 if state == "ready" else 503)

    async def _render_metrics(self, _: web.Request) -> web.StreamResponse:
        return await self._metrics.render()

    async def _openapi(self, _: web.Request) -> web.StreamResponse:
        proxies = (PREFIX, _VM + PREFIX)
        return web.json_response(openapi.document("Waypost gateway", version("waypost"), PATHS, _BASES, proxies))

    @property
    def _directory(self) -> Directory:
        return self._truth.directory
