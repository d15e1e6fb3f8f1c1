"""`/model/proxy/{path}` on a gateway: to a node that offers the model, and to another one where that may be.

Not here: what a name means (directory), who is asked next (attempts), and reading and carrying (relay.proxying).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import aiohttp
from aiohttp import web

from gateway.admission.callers import address_of
from gateway.admission.quotas import Quotas
from gateway.attempts import Attempts
from gateway.directory import Route
from gateway.groups import Candidate
from gateway.keys import ANYBODY, Caller, KeyRing
from gateway.limits import LimitsOf
from gateway.tiers import Tiers
from gateway.tls import verification
from gateway.tokens import Tokens
from relay import websockets
from relay.answer import Relayed
from relay.call import BodyLimits
from relay.errors import (
    ApiError,
    BadUpstream,
    ConnectFailed,
    Reset,
    TooManyRequests,
    Unavailable,
    UpstreamTimeout,
    from_upstream,
)
from relay.http import EXTRA, MODEL_HEADER, NODE_HEADER, TOKEN_HEADER
from relay.proxying import ProxyCall, carry, read, send
from relay.target import PREFIX

_NODES_FAULT = "gateway_not_allowed"  # of its 403s; its others say that a path is not open
_WEAK = (ConnectFailed, Reset, UpstreamTimeout, TooManyRequests, Unavailable)  # other failures are the engine's
_Answer = TypeVar("_Answer")


class Proxy:
    """Sends requests to nodes. Owns nothing but the way there: connections are the session's."""

    def __init__(
        self,
        keys: KeyRing,
        session: aiohttp.ClientSession,
        attempts: Attempts,
        tokens: Tokens,
        body_limits: BodyLimits,
        limits: LimitsOf,
        quotas: Quotas | None = None,
    ) -> None:
        self._quotas = quotas or Quotas()
        self._keys = keys
        self._session = session
        self._attempts = attempts
        self._tokens = tokens
        self._body_limits = body_limits
        self._limits = limits

    async def handle(self, request: web.Request, resolve: Callable[[str], Route]) -> web.StreamResponse:
        """One request, from its head to the node's last byte. `resolve` says which nodes a model means in it."""
        caller = self._keys.caller(request.headers)
        who = address_of(request.remote or "") if caller is ANYBODY else caller.name
        with self._quotas.enter(caller, who) as held:
            request[EXTRA] = held.headers
            return await self._handle(request, resolve, caller, who)

    async def _handle(
        self, request: web.Request, resolve: Callable[[str], Route], caller: Caller, who: str
    ) -> web.StreamResponse:
        async with read(request, self._body_limits, self._limits.usual.head_s) as call:
            route = resolve(call.model)
            caller.require(call.model, call.model.partition("@")[0], route.model)
            if call.websocket:
                return await self._relay_websocket(request, call, route, who)
            again = lambda: (resolve(call.model).candidates,)  # noqa: E731
            ask = lambda to: self._ask(call, route.model, to)  # noqa: E731
            async with self._answered(call, route.candidates, ask, who, again) as (candidate, answer), answer:
                return await carry(request, answer, self._limits.of(route.model), {NODE_HEADER: candidate.node})

    async def _relay_websocket(
        self, request: web.Request, call: ProxyCall, route: Route, who: str
    ) -> web.StreamResponse:
        limits = self._limits.of(route.model)

        async def connect(to: Candidate) -> aiohttp.ClientWebSocketResponse:
            headers = {"X-Request-Id": call.request_id, **call.headers, **self._headers(to, route.model)}
            url = call.target.url(to.url + PREFIX)
            return await websockets.connect(self._session, request, url, headers, limits, _tls(to))

        async with self._answered(call, route.candidates, connect, who) as (candidate, upstream):
            return await websockets.relay(request, upstream, limits, {NODE_HEADER: candidate.node})

    def _answered(
        self,
        call: ProxyCall,
        candidates: Sequence[Candidate],
        ask: Callable[[Candidate], Awaitable[_Answer]],
        who: str,
        again: Callable[[], Tiers] | None = None,
    ) -> AbstractAsyncContextManager[tuple[Candidate, _Answer]]:
        async def let_in(to: Candidate) -> _Answer:
            try:
                return await ask(to)
            except ApiError as error:
                if error.status == 401 or error.code == _NODES_FAULT:
                    refusal = BadUpstream("The node does not let this gateway in.", code="upstream_refused")
                    if error.code == _NODES_FAULT:  # a 401 may be the engine's, of this one path
                        refusal.upstream_status = error.status
                    raise refusal from error
                raise

        queue_s = self._limits.of(candidates[0].offer.model).queue_s
        return self._attempts.first(call, (candidates,), let_in, _WEAK, queue_s, who, again)

    async def _ask(self, call: ProxyCall, model: str, to: Candidate) -> Relayed:
        headers = self._headers(to, model)
        limits = self._limits.of(model)
        return await send(self._session, to.url + PREFIX, call, headers, limits, from_upstream, _tls(to))

    def _headers(self, to: Candidate, model: str) -> dict[str, str]:
        return {TOKEN_HEADER: self._tokens.token(to.node, time.time()), MODEL_HEADER: model}


def _tls(candidate: Candidate) -> aiohttp.Fingerprint | bool:
    return verification(candidate.believed.advert.tls_spki_sha256)
