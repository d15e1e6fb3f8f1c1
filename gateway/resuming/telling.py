"""One streamed answer as a client sees it, whichever nodes it comes from, one after another.

A node's answer flows to the client until it is whole or breaks; then the ways to go on are tried in turn. Not here:
which ways there are (ways), what may pass (checked, rest), and the first node (resume).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from gateway.admission.tickets import Place
from gateway.attempts import Attempts
from gateway.failover import Failover
from gateway.groups import Candidate
from gateway.resuming import events
from gateway.resuming.checked import Checked, is_final
from gateway.resuming.events import Parsed
from gateway.resuming.opening import too_late
from gateway.resuming.rest import Disagrees, Rest
from gateway.resuming.said import Said
from gateway.resuming.ways import Way, Wish, answers_of, counted, is_same_model, may_go_on, spent, ways
from gateway.search import ends_by_itself
from gateway.tiers import Tiers
from relay.answer import Relayed
from relay.call import Call
from relay.endpoints import CHAT
from relay.errors import ApiError, UpstreamTimeout
from relay.limits import Limits
from relay.wire.inbound import Inbound

log = logging.getLogger("waypost.gateway")

_MOST_JOINS = 16
_MOST_ASKED = 16  # at one break, before no more are looked for


class Telling:
    """`resolve` says who may go on, as `tiers_of` does; `found` is the first node and its answer, counted as in flight.

    `resumed` is told of each way that was gone, and whether it led to the end.
    """

    def __init__(
        self,
        inbound: Inbound,
        call: Call,
        resolve: Callable[[], Tiers],
        found: tuple[Place, Relayed],
        failover: Failover,
        attempts: Attempts,
        limits: Limits,
        wish: Wish,
        resumed: Callable[[Way, bool], None],
        caller: str = "",
    ) -> None:
        self._inbound = inbound
        self._call = call
        self._resolve = resolve
        self._place, self._answer = found
        self._candidate = self._first = self._place.candidate
        self._caller = caller
        self._failover = failover
        self._attempts = attempts
        self._limits = limits
        self._wish = wish
        self._resumed = resumed
        self._since = time.monotonic()
        self._said = Said(answers_of(call), counted(call))
        self._sink = Checked(inbound, self._said, self._hasten, limits.gap_s)
        self._way: Way | None = None
        self._left: list[tuple[Way, Call, bool]] = []  # with whether it is where it broke that is asked
        self._joins = self._asked = 0
        self._died: Counter[str] = Counter()
        self._aside: frozenset[tuple[Way, str]] = frozenset()  # nodes that a way has led to for nothing
        self._break: ApiError | None = None

    def __repr__(self) -> str:
        return f"<Telling {self._said!r} from {self._candidate.node}, {self._joins} joins>"

    async def tell(self) -> bytes:
        """To the end, or to an error event without one. Returns the last events."""
        error = await self._flow()
        while error is not None and await self._go_on(error):
            error = await self._flow()
        if error is not None and self._lacks_its_end_alone(error):
            self._finish_here()
            error = None
        if error is None:
            self._inbound.end()
        else:
            self._inbound.fail(b"\n\n" + self._call.endpoint.events.error(self._break or error))
        return self._sink.tail

    async def _flow(self) -> ApiError | None:
        """Let the answer at hand flow; what broke it, unless all was told."""
        answer, sink, place = self._answer, self._sink, self._place
        error = None
        try:
            await self._begin(answer, sink)
            await answer.flow(sink)
            sink.end()
        except ApiError as broke:
            error = broke
            if self._said.finished:
                sink.end()
                error = None
        finally:
            answer.close()
            self._attempts.end(place)
        if self._way is not None:
            self._resumed(self._way, error is None)
        return error

    async def _begin(self, answer: Relayed, sink: Checked) -> None:
        """What is there already, and what follows comments alone, or an end: both are worth waiting, for so long."""
        said, limits = self._said, self._limits
        last = time.monotonic() + max(limits.head_s, limits.first_token_s)
        while True:
            sink.write(answer.first)
            answer.first = b""
            if said.anything and not said.finished:
                return
            left_s = said.ends_within_s if said.finished else min(last - time.monotonic(), limits.gap_s)
            if left_s <= 0:
                raise too_late()
            await sink.room()
            if not answer.streamed or not await answer.more(left_s):
                return

    async def _go_on(self, error: ApiError) -> bool:
        """Whether another answer is at hand that goes on from here."""
        node = self._candidate.node
        log.warning("%s broke at %s: %.200s", self._call.request_id, node, error.message)
        if isinstance(error, Disagrees):
            assert self._way is not None
            self._aside |= {(self._way, node)}
        else:
            self._break = error
            if is_final(error):
                return False
            self._attempts.broke(self._candidate, error)
            self._died[node] += 2 if isinstance(error, UpstreamTimeout) else 1
            found = ways(self._call, self._said, self._wish, time.monotonic() - self._since)
            self._asked = 0
            self._left = [(way, call, there) for there in (False, True) for way, call in found]
        while self._left and self._joins < _MOST_JOINS:
            if await self._ask(*self._left[0]):
                return True
            del self._left[0]
        return False

    async def _ask(self, way: Way, call: Call, there: bool) -> bool:
        """Of each node once, whatever it says: what it refuses is our question, and not the client's."""
        found: tuple[Place, Relayed] | None = None
        while found is None and self._asked < _MOST_ASKED:
            tiers = self._tiers_for(way, there)
            if not tiers:
                return False
            before = len(self._aside)
            try:
                found = await self._attempts.find(
                    call, tiers, partial(self._ask_one, way, call), (ApiError,), self._limits.queue_s, self._caller,
                    resuming=True,
                )  # fmt: skip
            except ApiError as error:
                log.info("%s cannot go on by %s: %.200s", call.request_id, way.value, error.message)
                if len(self._aside) == before:
                    return False
        if found is None:
            return False
        self._place, self._answer = found
        self._candidate = self._place.candidate
        self._joins += 1
        self._way = way
        self._sink = self._sink_of(way, call)
        return True

    def _sink_of(self, way: Way, call: Call) -> Checked:
        said, gap_s = self._said, self._limits.gap_s
        if not (said.shape or said.anything):
            return Checked(self._inbound, said, self._hasten, gap_s)
        echoed = way is not Way.CONTINUE or call.endpoint is CHAT
        return Rest(self._inbound, said, self._hasten, way, echoed=echoed, note=self._note(way), quiet_s=gap_s)

    async def _ask_one(self, way: Way, call: Call, candidate: Candidate) -> Relayed:
        self._asked += 1
        try:
            return await self._failover.ask(call, candidate)
        except ApiError as error:
            if is_final(error):
                self._aside |= {(way, candidate.node)}
            elif not ends_by_itself(error):
                self._aside |= {(each, candidate.node) for each in Way}
            raise

    def _tiers_for(self, way: Way, there: bool) -> list[list[Candidate]]:
        """Who may go on: the same model elsewhere, then other models that were named; or where it broke, once more."""
        known = self._known()
        home = [tier for tier in known if is_same_model(self._first, tier[0])]
        fit = [c for tier in home for c in tier if may_go_on(way, self._first, c) and (way, c.node) not in self._aside]
        if there:
            again = [candidate for candidate in fit if self._died[candidate.node] == 1]
            return [again] if again else []
        out = self._died.keys() | {node for each, node in self._aside if each is way}
        tiers = [fit]
        if way is not Way.REPLAY:
            tiers += [[c for c in tier if may_go_on(way, c, c)] for tier in known if tier not in home]
        tiers = [[c for c in tier if c.node not in out] for tier in tiers]
        return [tier for tier in tiers if tier]

    def _known(self) -> Tiers:
        try:
            return self._resolve()
        except ApiError as error:
            log.info("%s has nobody to go on with: %.200s", self._call.request_id, error.message)
            return ()

    def _note(self, way: Way) -> str:
        how = "by continuing" if way is Way.CONTINUE else "by replay" if way is Way.REPLAY else "from the start"
        where = "on the same node" if self._candidate.node == self._first.node else "on another node"
        return f"resumed {how} {where}"

    def _lacks_its_end_alone(self, error: ApiError) -> bool:
        """Whether all the tokens that were asked for have been told, by an engine whose events are tokens."""
        said = self._said
        counted = self._wish != "off" and self._candidate.offer.resume and not said.exact
        return counted and not is_final(error) and spent(self._call, said)

    def _finish_here(self) -> None:
        nothing: Parsed = {"delta": {}} if self._call.endpoint is CHAT else {"text": ""}
        choice = {"index": 0, **nothing, "finish_reason": "length"}
        self._said.finishes[0] = "length"
        self._inbound.write(events.written({**self._said.shape, "choices": [choice]}))
        self._sink.end()

    def _hasten(self) -> None:
        self._answer.hasten(self._said.ends_within_s)
