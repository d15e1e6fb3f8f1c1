"""Clients that ask one question after another on kept connections, for as long as a context lasts.

Not here: how one is asked (asking), and what happens meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from openai import AsyncOpenAI

from tests.busy.asking import Heard, Question, ask, client
from tests.programs import until

_PROMPTS = (
    "Tell of a road in winter.",
    "What is a lamp?",
    "Name a bird.",
    "Who built the bridge?",
)
_MORE_S = 120.0


@dataclass
class Load:
    """What was heard so far, in order."""

    heard: list[Heard] = field(default_factory=list)

    @property
    def lost(self) -> list[Heard]:
        """All that was no whole answer, refusals included: nobody had to be refused."""
        return [each for each in self.heard if not each.answered]

    @property
    def faults(self) -> list[str]:
        return [each.fault or f"refused: {each.code}, come back in {each.come_back_s} s" for each in self.lost]

    async def more(self, answers: int) -> None:
        """Wait until so many further requests have ended."""
        before = len(self.heard)
        await until(
            lambda: len(self.heard) >= before + answers, lambda: f"answers, at {len(self.heard)}", limit_s=_MORE_S
        )


@contextlib.asynccontextmanager
async def load(base_urls: Sequence[str], clients: int, tokens: tuple[int, int]) -> AsyncIterator[Load]:
    """So many clients, each at one of these addresses; every other answer is a stream, none is cut at the end."""
    made, over = Load(), asyncio.Event()
    asking = [client(base_urls[number % len(base_urls)]) for number in range(clients)]
    tasks = [
        asyncio.create_task(_ask_on(one, random.Random(number), tokens, made, over))
        for number, one in enumerate(asking)
    ]
    try:
        yield made
    finally:
        over.set()
        await asyncio.gather(*tasks)
        for one in asking:
            await one.close()


async def _ask_on(
    asking: AsyncOpenAI, chance: random.Random, tokens: tuple[int, int], made: Load, over: asyncio.Event
) -> None:
    while not over.is_set():
        question = Question(chance.choice(_PROMPTS), chance.randint(*tokens), chance.random() < 0.5)
        made.heard.append(await ask(asking, question))
