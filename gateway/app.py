"""The gateway's routes, and the one place where its parts are wired together.

A request enters here, is read by `relay.call`, resolved by `directory`, sent by `failover`, and carried by
`relay.stream`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway import listing
from gateway.addresses import GuardedResolver
from gateway.balance import Balance
from gateway.challenge import Prover
from gateway.config import GatewayConfig
from gateway.directory import Directory, Route, away
from gateway.failover import Failover
from gateway.keys import KeyFileError, KeyRing
from gateway.metrics import Metrics
from gateway.refresh import Follower
from gateway.snapshot import Snapshot
from gateway.tokens import Tokens
from registry.backend import open_backend
from registry.keys import KeyFileError as WalletFileError
from registry.keys import NodeKey
from registry.trust import Policy, Trust
from relay import openapi
from relay.call import ENDPOINTS, PREFIXES, Call, Endpoint
from relay.errors import NotFound
from relay.http import NODE_HEADER, Handler, make_app, make_connector, make_session, parse_listen, serve
from relay.stream import Limits, relay

log = logging.getLogger("waypost.gateway")
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
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._keys = keys
        self._follower = follower
        self._prover = prover
        self._failover = failover
        self._metrics = metrics
        self.draining = False

    def app(self) -> web.Application:
        """The application, ready to be served."""
        routes: list[web.AbstractRouteDef] = [
            web.get("/health", self._health),
            web.get("/metrics", self._render_metrics),
            web.get("/openapi.json", self._openapi),
        ]
        for base in (*PREFIXES, *(_VM + prefix for prefix in PREFIXES)):
            routes.append(web.get(f"{base}/models", self._models))
            routes.append(web.get(f"{base}/models/{{model:.+}}", self._model))
            routes += [web.post(f"{base}/{e.path}", self._caller_of(e)) for e in ENDPOINTS.values()]
        return make_app(routes, body_limit_bytes=self._config.body_limit_bytes, observe=self._metrics.observe)

    def _caller_of(self, endpoint: Endpoint) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            caller = self._keys.caller(request)
            call = await Call.read(request, endpoint, self._config.body_limit_bytes)
            route = self._route(request, call)
            caller.require(call.model, call.model.partition("@")[0], route.model)
            async with self._failover.answered(call, route.model, route.candidates) as (candidate, answer):
                return await relay(request, answer, call, {NODE_HEADER: candidate.node})

        return handle

    def _route(self, request: web.Request, call: Call) -> Route:
        directory, now = self._directory, time.time()
        vm = request.match_info.get("vm")
        if vm is None:
            route = directory.resolve(call.model, call.endpoint.name, now)
        else:
            route = directory.resolve_at(vm, call.model, call.endpoint.name, now)
        proven = tuple(candidate for candidate in route.candidates if self._prover.proven(candidate.identity))
        if not proven:
            raise away(call.model)
        return Route(route.model, proven)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": self._listed(request)})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["model"]
        for item in self._listed(request):
            if name == item["id"] or name in item["aliases"]:
                return web.json_response(item)
        raise NotFound(f"The model {name!r} does not exist here.", param="model", code="model_not_found")

    def _listed(self, request: web.Request) -> list[dict[str, Any]]:
        caller = self._keys.caller(request)
        vm = request.match_info.get("vm")
        now = time.time()
        items = listing.models(self._directory, now) if vm is None else listing.models_at(self._directory, vm, now)
        return [item for item in items if caller.may_use(item["id"], item["id"].partition("@")[0], *item["aliases"])]

    async def _health(self, _: web.Request) -> web.StreamResponse:
        directory = self._directory
        state = "draining" if self.draining else "ready" if self._follower.ready.is_set() else "starting"
        nodes = len(directory.current(time.time()))
        body = {"status": state, "nodes": nodes, "proven": self._prover.proven_count}
        return web.json_response(body, status=200 if state == "ready" else 503)

    async def _render_metrics(self, _: web.Request) -> web.StreamResponse:
        return self._metrics.render()

    async def _openapi(self, _: web.Request) -> web.StreamResponse:
        bases = (*PREFIXES, *(_VM + prefix for prefix in PREFIXES))
        return web.json_response(openapi.document("Waypost gateway", version("waypost"), {}, bases))

    @property
    def _directory(self) -> Directory:
        return self._follower.directory


def run(config: GatewayConfig) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    logging.basicConfig(
        level=config.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        asyncio.run(_serve(config))
    except (KeyFileError, WalletFileError, ValueError) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"waypost: cannot listen on {config.listen}: {error.strerror}; choose another --listen", file=sys.stderr)
        return 1
    return 0


async def _serve(config: GatewayConfig) -> None:
    host, port = parse_listen(config.listen)
    folder = _make_folder(config.state)
    key = NodeKey.load_or_create(config.gateway_key or folder / "gateway.key")
    metrics, balance, tokens = Metrics(), Balance(), Tokens(key)
    keys = KeyRing(config.api_keys)
    policy = Policy.parse(config.trust, config.allow_private)
    async with AsyncExitStack() as stack:
        connector = make_connector(GuardedResolver(config.allow_private))
        session = await stack.enter_async_context(make_session(connector, connect_s=config.connect_s))
        prover = Prover(session, key, time.time)
        stack.push_async_callback(prover.close)
        backends = [open_backend(url) for url in config.registry]
        for backend in backends:
            stack.push_async_callback(backend.close)

        def forget_all_but(nodes: frozenset[str]) -> None:
            balance.keep_only(nodes)
            tokens.keep_only(nodes)

        snapshot = Snapshot(folder, config.registry, config.listen)
        follower = Follower(
            backends, Trust(policy), prover, session, snapshot, config.pins(), time.time, forget_all_but
        )
        limits = Limits(config.connect_s, config.head_s, config.gap_s)
        failover = Failover(session, balance, tokens, limits, lambda cause: metrics.failures.labels(cause).inc())
        gateway = Gateway(config, keys, follower, prover, failover, metrics)
        metrics.gauge("in_flight", "Requests that are with a node now.", lambda: balance.in_flight)
        metrics.gauge("nodes_proven", "Nodes that may be routed to.", lambda: prover.proven_count)
        metrics.gauge("postings_refused", "Postings that were not believed.", lambda: follower.refused)
        await _serve_and_follow(gateway, follower, host, port, config, key)


async def _serve_and_follow(
    gateway: Gateway, follower: Follower, host: str, port: int, config: GatewayConfig, key: NodeKey
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def drain() -> None:
        gateway.draining = True
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)  # a second signal stops at once
        stop.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, drain)

    def announce(bound_host: str, bound_port: int) -> None:
        log.info("gateway %s serves on http://%s:%d/v1", key.public, bound_host, bound_port)

    following = asyncio.create_task(follower.run())
    serving = asyncio.create_task(
        serve(gateway.app(), host, port, stop=stop, on_ready=announce, linger_s=config.drain_s)
    )
    try:
        done, _ = await asyncio.wait((following, serving), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a follower that failed is a bug, and must not leave a server with old truth
    finally:
        for task in (serving, following):
            task.cancel()
        await asyncio.gather(serving, following, return_exceptions=True)


def _make_folder(folder: Path) -> Path:
    """The state folder, made if missing. Raises ValueError, naming the option."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ValueError(f"--state {folder}: {error.strerror}; name a folder that can be written to") from error
    return folder
