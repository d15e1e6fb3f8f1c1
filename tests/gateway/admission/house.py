"""Admission before nodes of two slots each, without any process: who waits, and in which order they are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.admission.admission import Admission
from gateway.admission.line import Rank
from gateway.admission.tickets import Place, Spots, Ticket
from gateway.balance import Balance
from gateway.loads import room
from tests.gateway.searching import candidate

ROOM = room(2)  # of a node with two slots


class House:
    """Admission before nodes of two slots each, and all that is under way."""

    def __init__(self, queue: int = 512) -> None:
        self.balance = Balance(spread=lambda: 0.0)
        self.admission = Admission(self.balance, queue)
        self.nodes = {name: candidate(name) for name in "ab"}
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[Place | None]] = []

    def fill(self, *names: str) -> list[Place]:
        now = self.admission._clock()
        nodes = [self.nodes[name] for name in names for _ in range(ROOM)]
        return [place for node in nodes if (place := self.admission.enter([node], "others", now)) is not None]

    def spots(self, *names: str) -> Spots:
        return {(self.nodes[name].node, "m"): (self.nodes[name], 0.0) for name in names}

    def ticket(self, caller: str, *names: str, renew: Callable[[], Spots] | None = None, **more: Any) -> Ticket:
        now, spots = self.admission._clock(), self.spots(*names)
        return Ticket(caller, more.pop("rank", Rank.USUAL), now, spots, lambda _: True, renew or (lambda: spots), now)

    async def waits(
        self, caller: str, *names: str, limit_s: float = 30.0, renew: Callable[[], Spots] | None = None, **more: Any
    ) -> asyncio.Task[Place | None]:
        return await self.takes(self.ticket(caller, *names, renew=renew, **more), limit_s)

    async def takes(self, ticket: Ticket, limit_s: float) -> asyncio.Task[Place | None]:
        async def wait() -> Place | None:
            place = await self.admission.wait(ticket, self.admission._clock() + limit_s)
            if place is not None:
                self.order.append(ticket.caller)
            return place

        task = asyncio.create_task(wait())
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    def end(self, *places: Place | None) -> None:
        for place in places:
            assert place is not None
            self.admission.end(place)
