"""A call of the API, sent to one node: what it answers well, or the error that it comes to.

Not here: who is asked next, and after which failures (attempts), what becomes of a stream that breaks (resuming), and
carrying the answer (relay.stream).
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any

from gateway import sound
from gateway.groups import Candidate
from gateway.limits import LimitsOf
from gateway.resuming.opening import opened, too_late
from gateway.tls import verification
from gateway.tokens import Tokens
from relay.answer import Relayed
from relay.call import Call
from relay.errors import ApiError, BadUpstream, UpstreamTimeout, from_upstream
from relay.http import MODEL_HEADER, TOKEN_HEADER
from relay.limits import Limits
from relay.stream import ask
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams

_NODES_FAULT = (401, 403, 404, 405, 415)  # the request was judged here already: such an answer is the node's fault
_REFUSES_CONTENT = ("content", "moderation", "policy", "safety")  # in the code or type of a 403


class Failover:
    """Sends calls to nodes. Owns nothing but the way there: connections are `upstreams`'."""

    def __init__(self, upstreams: Upstreams, tokens: Tokens, limits: LimitsOf) -> None:
        self._upstreams = upstreams
        self._tokens = tokens
        self._limits = limits

    def ask(self, call: Call, candidate: Candidate) -> Coroutine[Any, Any, Relayed]:
        """A good answer, none of which anybody has seen; of a stream of tokens, with the first one.

        Raises ApiError. The answer is the caller's to close.
        """
        limits = self._limits.of(candidate.offer.model)
        is_stream = call.stream and call.endpoint.events.end is not None
        return (self._ask_stream if is_stream else self._ask)(call, candidate, limits)

    async def _ask_stream(self, call: Call, candidate: Candidate, limits: Limits) -> Relayed:
        asked_at = time.monotonic()
        try:
            answer = await self._ask(call, candidate, limits.of_stream)
        except UpstreamTimeout as error:
            if not error.theirs and limits.first_token_s <= limits.head_s:
                raise too_late() from error
            raise
        try:
            await opened(answer, limits, asked_at)
        except BaseException:
            answer.close()
            raise
        return answer

    async def _ask(self, call: Call, candidate: Candidate, limits: Limits) -> Relayed:
        origin = _origin(candidate.url, candidate.believed.advert.tls_spki_sha256)
        headers = {
            TOKEN_HEADER: self._tokens.token(candidate.node, time.time()),
            MODEL_HEADER: candidate.offer.model,
        }
        answer = await ask(self._upstreams, origin, f"/v1/{call.endpoint.path}", call, headers, limits)
        try:
            if not answer.ok:
                raise _judged(answer)
            sound.check(call, answer)
        except ApiError:
            answer.close()
            raise
        return answer


def _judged(answer: Relayed) -> ApiError:
    """A node's answer otherwise than well: its own reason, unless it is one that nobody could do anything about."""
    told = from_upstream(answer.status, answer.first, answer.header("Retry-After"))
    if answer.status < 400 or (answer.status in _NODES_FAULT and not _is_of_content(answer.status, told)):
        message = f"The node answered with status {answer.status}, which it should not."
        told = BadUpstream(message, code="upstream_refused")
        told.upstream_status = answer.status
    return told


def _is_of_content(status: int, told: ApiError) -> bool:
    words = f"{told.code or ''} {told.type}".lower()
    return status == 403 and any(word in words for word in _REFUSES_CONTENT)


@lru_cache(maxsize=4096)
def _origin(url: str, spki: str | None) -> Origin:
    return Origin.of(url, verification(spki))
