"""A round: nine streams begin, the node of the longest is killed at a token of it, and all are read to their ends.

The node is started again once its streams go on elsewhere, so that the next round finds all of them. Not here: what is
held against the answers (the tests), and what is told of them (report).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.killing.caller import Caller, Heard
from tests.killing.host import Host
from tests.killing.scene import Scene
from tests.programs import until

STREAMS = 9
TOKENS = 200
_TOKENS_BESIDE = 120  # of the other streams: all alike would take half as long again
_RESUME_S = 180.0
_UNDER_WAY = 3  # pieces that the gateway had when the node died
PROMPTS = [
    f"Traveller number {number + 1} stands where two roads meet. Tell a long story of the way that they take."
    for number in range(STREAMS)
]


@dataclass(frozen=True)
class Plan:
    """At which token of which stream its node dies. That stream has TOKENS, the others have fewer."""

    stream: int
    token: int

    @classmethod
    def random(cls, chance: Random) -> Plan:
        return cls(chance.randrange(STREAMS), chance.randrange(1, TOKENS))

    def tokens(self, stream: int) -> int:
        return TOKENS if stream == self.stream else _TOKENS_BESIDE

    def __str__(self) -> str:
        return f"killed at stream {self.stream}, token {self.token}"


@dataclass(frozen=True)
class Round:
    """What the clients heard, by prompt. `died`: which node, None if the answer had ended before its moment came."""

    plan: Plan
    heard: Sequence[Heard]
    died: Host | None
    seconds: float

    @property
    def broken(self) -> list[int]:
        """Streams that had begun at the node that died, and were resumed."""
        return [number for number, heard in enumerate(self.heard) if heard.joins]


@contextlib.asynccontextmanager
async def callers(scene: Scene, settings: Mapping[str, Any]) -> AsyncIterator[list[Caller]]:
    """One for each stream."""
    made = [await Caller.open(scene.port, settings) for _ in range(STREAMS)]
    try:
        yield made
    finally:
        for caller in made:
            await caller.close()


async def uninterrupted(made: Sequence[Caller]) -> list[Heard]:
    """The answers when nothing happens, TOKENS long each."""
    return list(
        await asyncio.gather(
            *(caller.ask(prompt, max_tokens=TOKENS) for caller, prompt in zip(made, PROMPTS, strict=True))
        )
    )


async def kill_round(scene: Scene, made: Sequence[Caller], plan: Plan) -> Round:
    """Every node is up when it begins, and when it ends."""
    began, blow = time.monotonic(), _Blow(scene, plan)
    blow.asking = [
        asyncio.create_task(
            caller.ask(PROMPTS[number], functools.partial(blow.on_piece, number), max_tokens=plan.tokens(number))
        )
        for number, caller in enumerate(made)
    ]
    heard = await asyncio.gather(*blow.asking)
    seconds = time.monotonic() - began
    if blow.died is not None and blow.recovery is not None:
        await blow.recovery
        await scene.usable(blow.died)
    return Round(plan, heard, blow.died, seconds)


class _Blow:
    """Falls once the planned stream has come so far; `recovery` is the start of what it has killed."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self._scene = scene
        self._plan = plan
        self._heard: dict[int, Heard] = {}
        self.asking: list[asyncio.Task[Heard]] = []
        self.died: Host | None = None
        self.recovery: asyncio.Task[None] | None = None

    def on_piece(self, number: int, heard: Heard) -> None:
        self._heard[number] = heard
        if number == self._plan.stream and heard.pieces >= self._plan.token and self.died is None:
            self.died = self._scene.host(heard.node)
            self.died.kill()
            self.recovery = asyncio.create_task(self._recover(self.died))

    async def _recover(self, died: Host) -> None:
        """Once its streams go on elsewhere, or have ended: a start takes time of the processor that is not theirs."""
        had = {number: heard.pieces for number, heard in self._heard.items() if heard.node == died.key}
        await until(lambda: all(self._goes_on(number, pieces) for number, pieces in had.items()), limit_s=_RESUME_S)
        await died.start_again()

    def _goes_on(self, number: int, had: int) -> bool:
        return self._heard[number].pieces > had + _UNDER_WAY or self.asking[number].done()
