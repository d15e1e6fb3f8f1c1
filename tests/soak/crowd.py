"""Clients that ask models at random, and what came of it; and what the node's engines hold meanwhile.

Not here: which models, and for how long.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson

from tests.node.agent import Agent

_LOOK_EVERY_S = 0.25
_MOST_RETRIES = 100


@dataclass
class Outcome:
    """What happened. `late` counts requests that were told to come back, `returned` those that then were answered."""

    answered: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    faults: list[str] = field(default_factory=list)
    most_bytes: int = 0
    looks: int = 0

    def __str__(self) -> str:
        return (
            f"{self.asked} requests, {self.answered.total()} answered {dict(self.answered)}, told to come back "
            f"{self.told.total()} times {dict(self.told)}, {len(self.faults)} faults; "
            f"at most {self.most_bytes / 2**20:.0f} MiB in {self.looks} looks"
        )


async def crowd(agent: Agent, models: Sequence[str], clients: int, go_on: Callable[[Outcome], bool]) -> Outcome:
    """Ask at random for as long as `go_on`; every request is followed until it is answered."""
    outcome = Outcome()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_read=120)) as session:
        looking = asyncio.create_task(_look(agent, outcome))
        try:
            asking = (_ask_on(session, agent, models, random.Random(seed), go_on, outcome) for seed in range(clients))
            await asyncio.gather(*asking)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
    return outcome


async def _ask_on(
    session: aiohttp.ClientSession,
    agent: Agent,
    models: Sequence[str],
    chance: random.Random,
    go_on: Callable[[Outcome], bool],
    outcome: Outcome,
) -> None:
    while go_on(outcome):
        outcome.asked += 1
        model, stream = chance.choice(models), chance.random() < 0.5
        body = {
            "model": model, "stream": stream, "max_tokens": chance.randrange(4, 48),
            "messages": [{"role": "user", "content": f"Count from {chance.randrange(100)}."}],
        }  # fmt: skip
        for _ in range(_MOST_RETRIES):
            wait_s = await _ask(session, f"{agent.url}/v1/chat/completions", body, outcome)
            if wait_s is None:
                break
            await asyncio.sleep(wait_s)  # as it was told
        else:
            outcome.faults.append(f"{model}: told to come back {_MOST_RETRIES} times")


async def _ask(session: aiohttp.ClientSession, url: str, body: dict[str, object], outcome: Outcome) -> float | None:
    """One request: None if it was answered (well or not), else the seconds after which to come back."""
    model = str(body["model"])
    try:
        async with session.post(url, json=body) as response:
            raw = await response.read()
    except (TimeoutError, aiohttp.ClientError) as error:
        outcome.faults.append(f"{model}: {error!r}")
        return None
    if response.status in (429, 503) and "Retry-After" in response.headers:
        outcome.told[orjson.loads(raw)["error"]["code"]] += 1
        return float(response.headers["Retry-After"])
    if response.status != 200 or not _is_whole(raw, bool(body["stream"])):
        outcome.faults.append(f"{model}: {response.status} {raw[-300:]!r}")
    else:
        outcome.answered[model] += 1
    return None


def _is_whole(raw: bytes, stream: bool) -> bool:
    if not stream:
        return bool(orjson.loads(raw)["choices"][0]["finish_reason"])
    events = [line[6:] for line in raw.splitlines() if line.startswith(b"data: ")]
    reasons = [choice["finish_reason"] for event in events[:-1] for choice in orjson.loads(event).get("choices", ())]
    return events[-1] == b"[DONE]" and any(reasons)


async def _look(agent: Agent, outcome: Outcome) -> None:
    while True:
        outcome.looks += 1
        outcome.most_bytes = max(outcome.most_bytes, sum(map(resident_bytes, agent.engines())))
        await asyncio.sleep(_LOOK_EVERY_S)


def resident_bytes(pid: int) -> int:
    """What a process holds in memory, its mapped weights included; 0 once it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4096
