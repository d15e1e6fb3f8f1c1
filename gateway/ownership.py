"""Who owns the virtual machines that adverts claim to run in: asked of the boards, in the background, and remembered.

An item hash leads to a node only if the advert's operator provably owns that machine. Boards prove it by a signature,
so one honest host is enough. Not here: which of an owner's nodes is meant (directory).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from gateway.offers import claimed_vm
from registry.backend import Backend, BackendError
from registry.trust import Believed, Key

log = logging.getLogger("waypost.gateway")

_LIMIT_S = 10.0
_AT_ONCE = 4  # questions of one kind
_EVERY_S = {True: 0.05, False: 0.2}  # a question, of those who were named and of strangers
_RETRY_FIRST_S = 5.0
_RETRY_MOST_S = 600.0
_FAILURES_COUNTED = 16
_KEPT = 10_000  # owners of machines that nobody claims now


@dataclass
class _Question:
    """One machine that believed adverts claim."""

    claims: dict[Key, Believed] = field(default_factory=dict)
    failures: int = 0
    task: asyncio.Task[None] | None = None

    @property
    def explicit(self) -> bool:
        return any(one.explicit for one in self.claims.values())


class Ownership:
    """Owns what is known of owners, and the questions under way. `repr` shows the counts."""

    def __init__(
        self,
        backends: Sequence[Backend],
        clock: Callable[[], float],
        on_owner: Callable[[Iterable[Key]], None] = lambda _: None,
    ) -> None:
        self._backends = backends
        self._clock = clock
        self._on_owner = on_owner
        self._claimed: dict[Key, str] = {}
        self._questions: dict[str, _Question] = {}
        self._owners: dict[str, str] = {}
        # Strangers cannot delay those who were named: each kind has its own queue and its own share.
        self._queues: dict[bool, list[tuple[float, int, str]]] = {True: [], False: []}
        self._queued = asyncio.Event()  # so that a gateway without such claims does not wake for nothing
        self._running = {True: 0, False: 0}
        self._next_at = {True: 0.0, False: 0.0}
        self._number = count()
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Ownership owners={len(self._owners)} asked={len(self._questions)} asking={len(self._tasks)}>"

    def owns(self, believed: Believed) -> bool:
        """Does the advert's operator own the machine that it claims, as far as is known now?"""
        item_hash = claimed_vm(believed)
        return item_hash is not None and self._owners.get(item_hash) == believed.advert.operator

    def follow(self, key: Key, believed: Believed | None) -> None:
        """What is believed of a node by now."""
        before, after = self._claimed.pop(key, None), claimed_vm(believed) if believed else None
        if believed is not None and after is not None:
            self._claimed[key] = after
            question = self._questions.setdefault(after, _Question())
            new, explicit = not question.claims, question.explicit
            question.claims[key] = believed
            if new or question.explicit != explicit:
                self._queue(after, question, self._clock())
        if before is not None and before != after:
            self._forget(before, key)

    async def run(self) -> None:
        """Ask, until cancelled."""
        try:
            while True:
                await self._queued.wait()
                await asyncio.sleep(_EVERY_S[True])
                for named in (True, False):
                    self._ask_next(named)
                if not any(self._queues.values()):
                    self._queued.clear()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ask_next(self, named: bool) -> None:
        now, queue = self._clock(), self._queues[named]
        if now < self._next_at[named] or self._running[named] >= _AT_ONCE:
            return
        while queue and queue[0][0] <= now:
            item_hash = heapq.heappop(queue)[2]
            question = self._questions.get(item_hash)
            if question and not question.task and question.explicit == named and item_hash not in self._owners:
                self._start(item_hash, question, named)
                self._next_at[named] = now + _EVERY_S[named]
                return

    def _start(self, item_hash: str, question: _Question, named: bool) -> None:
        question.task = asyncio.create_task(self._find_owner(item_hash, question))
        self._tasks.add(question.task)
        self._running[named] += 1
        question.task.add_done_callback(partial(self._asked, question, named))

    def _asked(self, question: _Question, named: bool, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running[named] -= 1
        question.task = None

    async def _find_owner(self, item_hash: str, question: _Question) -> None:
        owner = await self._ask_all(item_hash)
        if owner is not None:
            self._owners[item_hash] = owner
            self._on_owner(question.claims)
            self._tidy()
            return
        wait = min(_RETRY_FIRST_S * 2**question.failures, _RETRY_MOST_S)
        question.failures = min(question.failures + 1, _FAILURES_COUNTED)
        if self._questions.get(item_hash) is question:
            self._queue(item_hash, question, self._clock() + wait)

    async def _ask_all(self, item_hash: str) -> str | None:
        """The first proof that any host gives; None if none does in time."""
        tasks = [asyncio.create_task(self._ask(backend, item_hash)) for backend in self._backends]
        try:
            for answer in asyncio.as_completed(tasks):
                owner = await answer
                if owner is not None:
                    return owner
            return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, backend: Backend, item_hash: str) -> str | None:
        try:
            async with asyncio.timeout(_LIMIT_S):
                return await backend.vm_owner(item_hash)
        except (BackendError, TimeoutError) as error:
            log.info("registry %s does not say who owns the VM %s: %s", backend.url, item_hash, error or "too slow")
            return None

    def _queue(self, item_hash: str, question: _Question, at: float) -> None:
        heapq.heappush(self._queues[question.explicit], (at, next(self._number), item_hash))
        self._queued.set()

    def _forget(self, item_hash: str, key: Key) -> None:
        question = self._questions[item_hash]
        explicit = question.explicit
        del question.claims[key]
        if not question.claims:
            del self._questions[item_hash]
            if question.task is not None:
                question.task.cancel()
        elif question.explicit != explicit:
            self._queue(item_hash, question, self._clock())

    def _tidy(self) -> None:
        """Owners do not change; those whom nobody asks for are kept up to a bound."""
        if len(self._owners) > _KEPT + len(self._questions):
            unclaimed = [item_hash for item_hash in self._owners if item_hash not in self._questions]
            for item_hash in unclaimed[: len(unclaimed) // 2]:
                del self._owners[item_hash]
