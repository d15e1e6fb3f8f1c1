"""Try candidates until one has answered, as far as the protocol's table lets a request be sent again.

Only before the first byte: what happens to a stream that breaks later is `relay.stream`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from gateway.balance import Balance
from gateway.directory import away
from gateway.groups import Candidate
from gateway.tls import verification
from gateway.tokens import Tokens
from relay.call import Call
from relay.errors import (
    ApiError,
    BadUpstream,
    ConnectFailed,
    TooManyRequests,
    Unavailable,
    from_upstream,
)
from relay.http import MODEL_HEADER, NODE_HEADER, TOKEN_HEADER
from relay.stream import Answer, Limits, ask

log = logging.getLogger("waypost.gateway")

_TRIES = 4
_NODES_FAULT = (401, 403, 404, 405, 415)  # the request was judged here already: such an answer is the node's fault


class Failover:
    """Sends calls to nodes. Owns nothing but the way there: counts are `balance`'s, connections the session's."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        balance: Balance,
        tokens: Tokens,
        limits: Limits,
        on_failure: Callable[[str], None],
    ) -> None:
        self._session = session
        self._balance = balance
        self._tokens = tokens
        self._limits = limits
        self._on_failure = on_failure

    @asynccontextmanager
    async def answered(
        self, call: Call, model: str, candidates: Sequence[Candidate]
    ) -> AsyncIterator[tuple[Candidate, Answer]]:
        """The first candidate that answers well, its request counted for as long as the context lasts.

        Raises ApiError: the node's reason where the request is at fault, else 429, 502, 503 or 504 when all failed.
        """
        failure: ApiError = BadUpstream("No node could be asked.", code="no_node")
        unreachable = True
        for candidate in self._balance.order(candidates, time.monotonic())[:_TRIES]:
            async with AsyncExitStack() as stack:
                stack.enter_context(self._balance.carrying(candidate.node))
                try:
                    answer = await self._ask(call, model, candidate)
                except ApiError as error:
                    failure = self._judge(call, candidate, error)
                    unreachable = unreachable and isinstance(error, ConnectFailed)
                    continue
                stack.callback(answer.close)
                self._balance.answered(candidate.node)
                yield candidate, answer
                return
        if unreachable:
            raise away(call.model) from failure
        raise failure

    async def _ask(self, call: Call, model: str, candidate: Candidate) -> Answer:
        url = f"{candidate.url}/v1/{call.endpoint.path}"
        headers = {TOKEN_HEADER: self._tokens.token(candidate.node, time.time()), MODEL_HEADER: model}
        tls = verification(candidate.believed.advert.tls_spki_sha256)
        answer = await ask(self._session, url, call, headers, self._limits, tls)
        if answer.ok:
            return answer
        answer.close()
        if answer.status < 400 or answer.status in _NODES_FAULT:
            message = f"The node answered with status {answer.status}, which it should not."
            error: ApiError = BadUpstream(message, code="upstream_refused")
        else:
            error = from_upstream(answer.status, answer.first, answer.header("Retry-After"))
        error.extra_headers[NODE_HEADER] = candidate.node
        raise error

    def _judge(self, call: Call, candidate: Candidate, error: ApiError) -> ApiError:
        """Returns the error if another candidate may be asked, raises it if not."""
        if error.status < 500 and not isinstance(error, TooManyRequests):
            raise error
        self._balance.failed(candidate.node, time.monotonic(), error.retry_after_s)
        self._on_failure(error.code or error.type)
        log.warning("%s node %s: %s (%s)", call.request_id, candidate.node, error.message, error.code)
        untouched = isinstance(error, ConnectFailed | TooManyRequests | Unavailable)
        if not untouched and not call.endpoint.retry_after_silence:
            raise error
        return error
