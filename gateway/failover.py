"""A call of the API, sent to one candidate after another until one has answered.

Not here: who is asked next, and after which failures (attempts), and carrying the answer (relay.stream).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache

from gateway.attempts import Attempts
from gateway.groups import Candidate
from gateway.tls import verification
from gateway.tokens import Tokens
from relay.answer import Limits, Relayed
from relay.call import Call
from relay.errors import ApiError, BadUpstream, from_upstream
from relay.http import MODEL_HEADER, TOKEN_HEADER
from relay.stream import ask
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams

_NODES_FAULT = (401, 403, 404, 405, 415)  # the request was judged here already: such an answer is the node's fault


class Failover:
    """Sends calls to nodes. Owns nothing but the way there: connections are `upstreams`'."""

    def __init__(self, upstreams: Upstreams, attempts: Attempts, tokens: Tokens, limits: Limits) -> None:
        self._upstreams = upstreams
        self._attempts = attempts
        self._tokens = tokens
        self._limits = limits

    def answered(
        self, call: Call, model: str, candidates: Sequence[Candidate]
    ) -> AbstractAsyncContextManager[tuple[Candidate, Relayed]]:
        """As `Attempts.first`; the answer is to be closed within the context. Any 5xx makes a node weak."""
        return self._attempts.first(call, candidates, lambda to: self._ask(call, model, to), weak=(ApiError,))

    async def _ask(self, call: Call, model: str, candidate: Candidate) -> Relayed:
        origin = _origin(candidate.url, candidate.believed.advert.tls_spki_sha256)
        headers = {TOKEN_HEADER: self._tokens.token(candidate.node, time.time()), MODEL_HEADER: model}
        answer = await ask(self._upstreams, origin, f"/v1/{call.endpoint.path}", call, headers, self._limits)
        if answer.ok:
            return answer
        answer.close()
        if answer.status < 400 or answer.status in _NODES_FAULT:
            message = f"The node answered with status {answer.status}, which it should not."
            raise BadUpstream(message, code="upstream_refused")
        raise from_upstream(answer.status, answer.first, answer.header("Retry-After"))


@lru_cache(maxsize=4096)
def _origin(url: str, spki: str | None) -> Origin:
    return Origin.of(url, verification(spki))
