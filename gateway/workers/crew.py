"""All workers of one gateway: started, started again when they end, asked what they have counted, and stopped.

Not here: one worker (member), what it is told (feed), and how counts add up (tally).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.workers import counts
from gateway.workers.channel import Kind
from gateway.workers.feed import Feed
from gateway.workers.member import Member, Terms
from gateway.workers.news import News
from gateway.workers.rounds import Rounds
from gateway.workers.source import Source
from gateway.workers.tally import Tally

__all__ = ["Crew", "Parts", "pause_s"]

log = logging.getLogger("waypost.gateway")

_COUNT_S = 1.0  # a worker that does not say by then what it has counted is left out of gauges
_STEADY_S = 60.0  # who lasted so long is started again as if for the first time
_PAUSE_FIRST_S = 0.1
_PAUSE_MOST_S = 30.0
_ORDER_S = 1.0  # a worker that does not even hear by then will be killed
_STOP_S = 4.0


@dataclass(frozen=True)
class Parts:
    """What a crew works with. `own` gives the parent's part of the metrics."""

    terms: Terms
    source: Source
    news: News
    own: Callable[[], counts.Part]


class Crew:
    """`size` workers, numbered from 1. `repr` shows which serve."""

    def __init__(self, size: int, parts: Parts, on_all_serving: Callable[[], None]) -> None:
        self._size = size
        self._parts = parts
        self._on_all_serving: Callable[[], None] | None = on_all_serving
        self._members: dict[int, Member] = {}
        self._tally = Tally()
        self._scrapes: Rounds[str] = Rounds(self._scrape)
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Crew serving={len(self._serving())} of {self._size} {self._tally!r}>"

    async def run(self, drain: asyncio.Event, stop: asyncio.Event, notice_s: float, drain_s: float) -> None:
        """Until `drain` or `stop` is set and all workers have ended; `stop` cuts short what still runs.

        Workers have the notice from the options, as the parent has: `notice_s` is only how long to wait for it.
        """
        slots = {number: asyncio.create_task(self._keep(number)) for number in range(1, self._size + 1)}
        asked: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait()) for event in (drain, stop)]
        try:
            done, _ = await asyncio.wait((*slots.values(), asked[0]), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # nothing ends a slot before a drain but a bug
            self._stopping = True
            await self._order(slots, Kind.DRAIN, drain_s)
            asked.append(asyncio.create_task(self._drained()))
            await asyncio.wait(asked[1:], timeout=notice_s + drain_s + _ORDER_S, return_when=asyncio.FIRST_COMPLETED)
            await self._order(slots, Kind.STOP)
            await asyncio.wait(slots.values(), timeout=_STOP_S)
        finally:
            for task in (*slots.values(), *asked):
                task.cancel()
            await asyncio.gather(*slots.values(), *asked, return_exceptions=True)
            await self._scrapes.close()

    async def _order(self, slots: dict[int, asyncio.Task[None]], kind: Kind, drain_s: float | None = None) -> None:
        """Who serves is told; who does not has nothing to end."""
        serving = self._serving()
        for number, slot in slots.items():
            if number not in serving:
                slot.cancel()
        await asyncio.gather(*(_within(_ORDER_S, member.send(kind, drain_s)) for member in serving.values()))

    async def _drained(self) -> None:
        for member in self._serving().values():
            await member.drained.wait()

    async def _keep(self, number: int) -> None:
        """One worker after the other, until this crew stops."""
        loop, failures = asyncio.get_running_loop(), 0
        while not self._stopping:
            began = loop.time()
            member = await self._one(number)
            if self._stopping:
                return
            self._tally.restarted(number)
            failures = 0 if loop.time() - began > _STEADY_S else failures
            wait, failures = pause_s(failures), failures + 1
            log.warning("worker %d has ended (%s); started again in %.1f s", number, member.ended, wait)
            await asyncio.sleep(wait)

    async def _one(self, number: int) -> Member:
        feed = Feed(self._parts.source)
        member = Member(number, self._parts.terms, feed, self._is_serving, self._scrapes.ask)
        self._parts.news.listeners.add(feed)
        self._members[number] = member
        try:
            await member.run()
        finally:
            self._parts.news.listeners.discard(feed)
        return member

    def _serving(self) -> dict[int, Member]:
        return {number: member for number, member in self._members.items() if member.serving}

    def _is_serving(self) -> None:
        if self._on_all_serving is not None and len(self._serving()) == self._size:
            self._on_all_serving()
            self._on_all_serving = None

    async def _scrape(self) -> str:
        """The text of all metrics, each worker's as it is now, or was when it last said so."""
        serving = self._serving()
        answers = await asyncio.gather(*map(self._ask, serving.values()))
        answered = [number for number, done in zip(serving, answers, strict=True) if done]
        return counts.text(self._tally.whole(self._parts.own(), serving, answered)).decode()

    async def _ask(self, member: Member) -> bool:
        try:
            self._tally.heard(member.number, await member.count(_COUNT_S))
        except (TimeoutError, ConnectionError):
            return False
        return True


def pause_s(failures: int) -> float:
    """How long to wait before a worker is started again, when so many in a row have ended early."""
    return float(min(_PAUSE_FIRST_S * 2 ** min(failures, 10), _PAUSE_MOST_S))


async def _within(limit_s: float, sending: Coroutine[Any, Any, None]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await sending
