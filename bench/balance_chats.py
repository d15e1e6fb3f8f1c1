"""The conversations of bench.balance: several people talk with one gateway, each turn with all that was said before.

Not here: which gateway, and what is made of the answers (balance_table).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from tests.killing.host import MODEL

_LIMIT = aiohttp.ClientTimeout(180)
_WORDS = ("river", "stone", "garden", "window", "letter", "market", "winter", "teacher", "engine", "bridge", "harbour",
          "village", "paper", "silver", "music", "answer", "reason", "weather", "journey", "library")  # fmt: skip


class BadAnswer(Exception):
    """An answer that is not what was asked for; measuring it would mean nothing."""


@dataclass(frozen=True)
class Shape:
    """What is talked: `chats` at once, of so many `turns`, `think_s` on average between two."""

    chats: int
    turns: int
    think_s: float
    system_words: int = 150
    question_words: int = 40
    answer_tokens: int = 32
    apps: int = 2  # each with a system prompt of its own


@dataclass(frozen=True)
class Turn:
    """One answer: how long its first token took, and what the engine had to read for it and what it had read before."""

    chat: int
    turn: int
    node: str
    first_s: float
    read: int
    cached: int


@dataclass(frozen=True)
class Talk:
    """One run: all turns of all chats."""

    turns: Sequence[Turn]
    seconds: float

    def __str__(self) -> str:
        """For who watches."""
        first = sorted(turn.first_s for turn in self.turns)
        read, cached = sum(turn.read for turn in self.turns), sum(turn.cached for turn in self.turns)
        return (
            f"{self.seconds:.1f} s, first token {1000 * first[len(first) // 2]:,.0f} ms at the median and "
            f"{1000 * first[-1]:,.0f} at most, {read:,} prompt tokens read, {cached:,} cached"
        )


async def talk(port: int, shape: Shape, seed: int, name: str) -> Talk:
    """All chats to their ends. The same `seed` asks the same at the same pauses; `name` is this run's alone, so that
    nothing of it was ever asked before. Raises BadAnswer."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=_LIMIT) as session:
        began = time.perf_counter()
        tasks = [asyncio.create_task(_chat(session, shape, seed, name, number)) for number in range(shape.chats)]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        seconds = time.perf_counter() - began
    return Talk([turn for turns in found for turn in turns], seconds)


async def _chat(session: aiohttp.ClientSession, shape: Shape, seed: int, name: str, number: int) -> list[Turn]:
    chance, found = random.Random(f"{seed} {number}"), list[Turn]()
    app = number % shape.apps
    system = f"{name} {app}. " + _text(random.Random(f"{seed} app {app}"), shape.system_words)
    messages = [{"role": "system", "content": system}]
    for turn in range(shape.turns):
        await asyncio.sleep(chance.expovariate(1 / shape.think_s))
        messages.append({"role": "user", "content": _text(chance, shape.question_words)})
        text, heard = await _ask(session, shape, messages, number, turn)
        messages.append({"role": "assistant", "content": text})
        found.append(heard)
    return found


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_WORDS, k=words))


async def _ask(
    session: aiohttp.ClientSession, shape: Shape, messages: Sequence[dict[str, str]], chat: int, turn: int
) -> tuple[str, Turn]:
    body = {
        "messages": messages, "model": MODEL, "stream": True, "max_tokens": shape.answer_tokens, "temperature": 0,
        "seed": 1, "ignore_eos": True,
    }  # fmt: skip
    asked, first_at, text, timings = time.perf_counter(), 0.0, "", dict[str, Any]()
    async with session.post("/v1/chat/completions", json=body) as response:
        if response.status != 200:
            raise BadAnswer(f"status {response.status}: {(await response.text())[:300]}")
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            event = orjson.loads(line[6:])
            if "error" in event:
                raise BadAnswer(str(event["error"])[:300])
            piece = "".join(choice["delta"].get("content") or "" for choice in event["choices"])
            first_at = first_at or (time.perf_counter() if piece else 0.0)
            text += piece
            timings = event.get("timings", timings)
        node = response.headers["Waypost-Node"]
    if timings.get("predicted_n") != shape.answer_tokens:
        raise BadAnswer(f"{timings.get('predicted_n')} tokens came where {shape.answer_tokens} were asked for")
    return text, Turn(chat, turn, node, first_at - asked, timings["prompt_n"], timings.get("cache_n", 0))
