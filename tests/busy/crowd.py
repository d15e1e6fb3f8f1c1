"""More clients than slots: each asks on, comes back exactly when it is told to, and counts what it waited.

Not here: who they are to the gateway (by key or by address), and what is held against the counts.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from openai import AsyncOpenAI

from tests.busy.asking import Question, ask
from tests.programs import until

_TOKENS = 16
_MOST_TURNS_AWAY = 20
_LIMIT_S = 300.0


@dataclass(frozen=True)
class Turn:
    """One question from when it was first asked until its answer had ended. `told` are the times to come back."""

    ended_at: float
    seconds: float
    tokens: int
    told: Sequence[float]


@dataclass(frozen=True)
class Run:
    """For how long everybody asked, and the tokens a second of the answers that ended meanwhile."""

    began_at: float
    ended_at: float
    speed: float = 0.0

    def holds(self, turn: Turn) -> bool:
        return self.began_at <= turn.ended_at < self.ended_at


@dataclass
class Member:
    """A client with so many questions at a time."""

    name: str
    asking: AsyncOpenAI
    parallel: int = 1
    turns: list[Turn] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def mean_s(self) -> float:
        return sum(turn.seconds for turn in self.turns) / max(1, len(self.turns))

    def served(self, run: Run) -> int:
        """Answers while everybody still asked."""
        return sum(map(run.holds, self.turns))

    @property
    def told(self) -> int:
        """How many questions were told to come back."""
        return sum(bool(turn.told) for turn in self.turns)

    @property
    def told_again(self) -> int:
        """Of those, how many were told so although they had come when they had been told to."""
        return sum(len(turn.told) > 1 for turn in self.turns)


async def ask_for(members: Sequence[Member], seconds: float, *, answers: int = 0) -> Run:
    """Everybody asks for so long, and until there are so many answers; the last questions are asked to their ends."""
    began, over = time.monotonic(), asyncio.Event()
    tasks = [
        asyncio.create_task(_ask_on(member, random.Random(f"{member.name} {number}"), over))
        for member in members
        for number in range(member.parallel)
    ]
    await asyncio.sleep(seconds)
    await until(lambda: len(list(_turns(members))) >= answers, lambda: f"{answers} answers", limit_s=_LIMIT_S)
    run = Run(began, time.monotonic())
    over.set()
    await asyncio.gather(*tasks)
    return replace(run, speed=sum(turn.tokens for turn in _turns(members) if run.holds(turn)) / (run.ended_at - began))


def _turns(members: Sequence[Member]) -> Iterator[Turn]:
    return (turn for member in members for turn in member.turns)


async def _ask_on(member: Member, chance: random.Random, over: asyncio.Event) -> None:
    while not over.is_set():
        text = f"Tell of the number {chance.randrange(1000)} in one long sentence."
        await _ask(member, Question(text, _TOKENS, chance.random() < 0.5))


async def _ask(member: Member, question: Question) -> None:
    """Until it is answered, or lost."""
    began, told = time.monotonic(), list[float]()
    while len(told) <= _MOST_TURNS_AWAY:
        heard = await ask(member.asking, question)
        if heard.fault:
            member.faults.append(heard.fault)
            return
        if heard.come_back_s is None:
            now = time.monotonic()
            member.turns.append(Turn(now, now - began, heard.tokens, told))
            return
        told.append(heard.come_back_s)
        await asyncio.sleep(heard.come_back_s)  # as it was told, and no longer
    member.faults.append(f"told to come back {len(told)} times: {told}")
