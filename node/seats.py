"""One engine's slots, and who waits for them: a request takes its place, and is let in or told when to come back.

The one owner of what is in flight at that engine. Whoever was let in gives back what it took, however it ends. Not
here: whose turn it is (turns), whether the engine is there (residency), and what a refusal says (pool).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from node.engines.engine import Engine
from node.estimate import Estimate, free_in_s, retry_after_s
from node.promises import Promises
from node.turns import Share, Turn, Turns

LONGEST_RETRY_S = 600


class Outcome(Enum):
    """What became of a request at the slots. REFUSED could not even wait, LEFT is a client that did not."""

    SERVED = "served"
    TIMED_OUT = "timed_out"
    EVICTED = "evicted"
    REFUSED = "refused"
    DRAINED = "drained"
    LEFT = "left"


class NoSeat(Exception):
    """It was not let in."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


@dataclass(frozen=True)
class Portion:
    """What a request takes: slots, and how many times as long as a usual one it holds them."""

    slots: int = 1
    work: float = 1.0


@dataclass(frozen=True)
class Load:
    """An engine's slots: how many are taken, of how many, and how many requests wait for one."""

    running: int
    slots: int
    waiting: int

    def __str__(self) -> str:
        return f"{self.running}/{self.slots}+{self.waiting}"


class Seats:
    """Of one engine. `clock` gives seconds."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self.outcomes: Counter[Outcome] = Counter()
        self._clock = clock
        self._turns = Turns(engine.slots)
        self._calls: dict[Turn, asyncio.Future[Outcome]] = {}  # by who waits
        self._estimate = Estimate()
        self._promises = Promises()

    def __repr__(self) -> str:
        return f"<Seats {self._turns!r} {self._estimate!r} {self._promises!r}>"

    @property
    def load(self) -> Load:
        return Load(self._turns.held, self._turns.slots, len(self._calls))

    @property
    def idle(self) -> bool:
        return not self._turns.held and not self._calls

    async def take(self, share: Share, portion: Portion, queue: int, queue_s: float) -> Turn:
        """A seat, at once or within `queue_s`; `queue` is how many may wait. Raises NoSeat.

        Cancelling leaves no trace.
        """
        now = self._clock()
        slots = min(portion.slots, self._turns.slots)
        turn = Turn(share, slots, portion.work, now, self._promises.redeem(share, now), now)
        if self._turns.begin(turn):
            self.outcomes[Outcome.SERVED] += 1
            return turn
        outcome = Outcome.REFUSED
        if self._makes_room(turn, queue):
            outcome = await self._wait(turn, queue_s)
        self.outcomes[outcome] += 1
        if outcome is not Outcome.SERVED:
            raise NoSeat(outcome)
        return turn

    def give_back(self, turn: Turn, ready_at: float | None, whole: bool) -> None:
        """The request is over. It has had the engine itself since `ready_at`, and ended as it should if `whole`."""
        now = self._clock()
        if ready_at is not None:
            self._estimate.note(now - ready_at, turn.work, whole)
        self._turns.end(turn, now - turn.began)
        self._hand_out()

    def come_back_s(self, share: Share, portion: Portion, queue: int, further_s: float = 0.0) -> int:
        """When who is refused now will be let in, if it comes back by then: promised, as far as that goes.

        `further_s`: the engine itself is not there before.
        """
        now = self._clock()
        wait_s = further_s + self._free_in_s(now, portion.slots) + self._estimate.spread_s
        told_s = retry_after_s(wait_s, LONGEST_RETRY_S)
        self._promises.make(share, now + told_s, self._turns.slots, queue, now)
        return told_s

    def done_in_s(self) -> float:
        """When all that runs and waits may be over."""
        return self._free_in_s(self._clock(), self._turns.slots, promised=False)

    def send_away(self) -> None:
        """Nobody is let in any more."""
        for turn, call in self._calls.items():
            self._turns.leave(turn)
            if not call.done():
                call.set_result(Outcome.DRAINED)
        self._calls.clear()

    def _makes_room(self, turn: Turn, queue: int) -> bool:
        """Whether it may wait; another may have to give way. Who was promised a turn waits beyond the limit."""
        if len(self._calls) < queue:
            return True
        loser = self._turns.loser(turn)
        if loser is turn:
            return False
        if loser is not None:
            self._turns.leave(loser)
            call = self._calls.pop(loser)
            if not call.done():
                call.set_result(Outcome.EVICTED)
        return True

    async def _wait(self, turn: Turn, queue_s: float) -> Outcome:
        call: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._turns.wait(turn)
        self._calls[turn] = call
        self._hand_out()
        try:
            async with asyncio.timeout(queue_s):
                return await call
        except TimeoutError:
            if call.done() and not call.cancelled():
                return call.result()  # just then
            self._leave(turn)
            return Outcome.TIMED_OUT
        except asyncio.CancelledError:
            if call.done() and not call.cancelled() and call.result() is Outcome.SERVED:
                self._turns.end(turn, 0.0)  # it was let in as it left
                self._hand_out()
            else:
                self._leave(turn)
            self.outcomes[Outcome.LEFT] += 1
            raise

    def _leave(self, turn: Turn) -> None:
        """It waits no more, unless it was passed over already, as one that has left."""
        if self._calls.pop(turn, None) is not None:
            self._turns.leave(turn)
            self._hand_out()  # slots may have been kept for it

    def _hand_out(self) -> None:
        now = self._clock()
        while (turn := self._turns.next()) is not None:
            call = self._calls.pop(turn)
            if call.done():  # it is leaving
                self._turns.end(turn, 0.0)
                continue
            turn.began = now
            call.set_result(Outcome.SERVED)

    def _free_in_s(self, now: float, need: int, promised: bool = True) -> float:
        mean_s, left_s = self._estimate.mean_s, self._estimate.left_s
        left = [(turn.slots, left_s(now - turn.began, turn.work)) for turn in self._turns.running]
        return free_in_s(self._turns.slots, left, self._ahead(now, mean_s, promised), need)

    def _ahead(self, now: float, mean_s: float, promised: bool) -> Iterator[tuple[int, float]]:
        for turn in self._turns.waiting:
            yield turn.slots, turn.work * mean_s
        if promised:
            for _ in range(self._promises.standing(now)):
                yield 1, mean_s
