"""Streams of chats and completions: the first node found, and then told to the client, resumed where it breaks.

Not here: who is asked (attempts), and the telling itself (telling).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from gateway.admission.tickets import Place
from gateway.attempts import Attempts
from gateway.failover import Failover
from gateway.groups import Candidate
from gateway.limits import LimitsOf
from gateway.resuming.telling import Telling
from gateway.resuming.ways import Way, Wish
from gateway.tiers import Tiers
from relay.answer import Relayed
from relay.call import Call
from relay.errors import ApiError
from relay.http import ANSWERING_MODEL_HEADER, NODE_HEADER
from relay.stream import STREAMING, EarlyStream
from relay.wire.inbound import Inbound

Found = tuple[Place, Relayed]


class Resuming:
    """Owns nothing. `keepalive_s`: comments come so often until there is a first token; 0 for none."""

    def __init__(
        self,
        failover: Failover,
        attempts: Attempts,
        limits: LimitsOf,
        wish: Wish,
        keepalive_s: float,
        resumed: Callable[[Way, bool], None],
    ) -> None:
        self._failover = failover
        self._attempts = attempts
        self._limits = limits
        self._wish = wish
        self._keepalive_s = keepalive_s
        self._resumed = resumed

    async def answer(self, inbound: Inbound, call: Call, resolve: Callable[[], Tiers], caller: str = "") -> bytes:
        """To its end, however many nodes that takes; returns its last events. Raises ApiError before the first byte.

        `resolve` says who may answer now: a stream may last longer than what is known of nodes. `caller` is whose turn
        it takes.
        """
        tiers = resolve()
        early = EarlyStream(inbound, call.endpoint.events)
        try:
            found = await self._found(call, tiers, early, resolve, caller)
        except ApiError as error:
            early.fail(error)
            return b""
        place, answer = found
        candidate = place.candidate
        try:
            if not early.begun:
                headers = {**STREAMING, **answer.headers(), **names(candidate)}
                inbound.begin(answer.status, headers, None)
        except BaseException:
            self._let_go(found)
            raise
        limits = self._limits.of(candidate.offer.model)
        telling = Telling(
            inbound, call, resolve, found, self._failover, self._attempts, limits, self._wish, self._resumed, caller
        )
        return await telling.tell()

    async def _found(
        self, call: Call, tiers: Tiers, early: EarlyStream, again: Callable[[], Tiers], caller: str
    ) -> Found:
        queue_s = self._limits.of(tiers[0][0].offer.model).queue_s
        ask = partial(self._failover.ask, call)
        finding = self._attempts.find(call, tiers, ask, (ApiError,), queue_s, caller, again)
        if not self._keepalive_s:
            return await finding
        task = asyncio.ensure_future(finding)
        try:
            while not (await asyncio.wait([task], timeout=self._keepalive_s))[0]:
                await early.comment("no token yet")
        except BaseException:
            await self._give_up(task)
            raise
        return task.result()

    async def _give_up(self, finding: asyncio.Future[Found]) -> None:
        """The client is gone: what was found meanwhile is let go of."""
        finding.cancel()
        await asyncio.wait([finding])
        if not finding.cancelled() and finding.exception() is None:
            self._let_go(finding.result())

    def _let_go(self, found: Found) -> None:
        place, answer = found
        answer.close()
        self._attempts.end(place)


def names(candidate: Candidate) -> dict[str, str]:
    """The headers that say who answered."""
    return {NODE_HEADER: candidate.node, ANSWERING_MODEL_HEADER: candidate.offer.model}
