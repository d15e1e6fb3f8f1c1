"""What bench.resuming measures: two nodes as their users start them, each behind a crossing, and two gateways.

Not here: which streams are cut, and how it is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.resuming_table import Cut
from deploy import demo
from node.engines.llama import find_build
from tests.killing import scene as killing
from tests.killing.caller import Caller, Heard

WAYS = ("replay", "continue")
_MODEL = {"context": 1024, "parallel": 8, "threads": 1}  # a processor for each of the two nodes
_TAIL = 32  # tokens behind the join
_BESIDE_TOKENS = 400
_OTHERS = 1000  # the first number of those beside, whose prompts must not hold that of the one that is cut
# A node that takes a stream over has not read its prompt before; these nodes would have, in an earlier cut.
_GREEDY = {"temperature": 0, "seed": 7, "extra_body": {"ignore_eos": True, "cache_prompt": False}}


class NotResumed(Exception):
    """What is to be measured does not run, or a stream was not resumed; the text says why."""


@dataclass
class Scene:
    """`gateways` and `callers` by way; `whole` are the uninterrupted texts, one for each round."""

    gateways: Mapping[str, killing.Scene]
    callers: Mapping[str, Caller]
    whole: Sequence[str]
    engine: str  # its version

    async def cut(self, way: str, number: int, length: int, load: int) -> Cut:
        """A stream that is cut after `length` tokens and resumed that way. Raises NotResumed."""
        gateway, prompt = self.gateways[way], _prompt(number)
        for host in gateway.hosts:
            await gateway.usable(host)

        struck_at = 0.0

        def strike(heard: Heard) -> None:
            nonlocal struck_at
            crossing = gateway.host(heard.node).crossing
            if heard.pieces == length and crossing is not None:
                crossing.cut(prompt.encode())
                struck_at = time.perf_counter()

        heard = await self.callers[way].ask(prompt, strike, max_tokens=length + _TAIL)
        if heard.error or [join.way for join in heard.joins] != [way]:
            raise NotResumed(f"a stream cut after {length} tokens was not resumed by {way}: {heard.error or heard}")
        equal = self.whole[number].startswith(heard.text)
        asked_at = max(host.crossing.last_asked(prompt.encode()) for host in gateway.hosts if host.crossing)
        return Cut(way, length, load, heard.joins[0].added_s, asked_at - struck_at, equal)


@asynccontextmanager
async def scene(folder: Path, prompts: int, longest: int) -> AsyncIterator[Scene]:
    """All of it, ready, until the context ends. Raises NotResumed."""
    async with AsyncExitStack() as exits:
        try:
            crew = await exits.enter_async_context(killing.crew(folder, 2, model=_MODEL, crossed=True))
        except demo.NotInstalled as missing:
            raise NotResumed(f"{missing} is not set up; run make environment") from missing
        gateways, callers = {}, {}
        for way in WAYS:
            gateways[way] = await exits.enter_async_context(killing.serve(crew, way, ("--resume", way)))
            callers[way] = await Caller.open(gateways[way].port, _GREEDY)
            exits.push_async_callback(callers[way].close)
        whole = [await _uninterrupted(callers[WAYS[0]], number, longest + _TAIL) for number in range(prompts)]
        yield Scene(gateways, callers, whole, (await find_build(None)).version)


async def _uninterrupted(caller: Caller, number: int, tokens: int) -> str:
    heard = await caller.ask(_prompt(number), max_tokens=tokens)
    if heard.error or heard.finish != "length":
        raise NotResumed(f"an uninterrupted stream ended with {heard.finish}: {heard.error}")
    return heard.text


@asynccontextmanager
async def beside(made: Scene, streams: int) -> AsyncIterator[None]:
    """That many streams that go on all the while, by turns through the two gateways, on both nodes."""
    callers = [await Caller.open(made.gateways[WAYS[n % 2]].port, _GREEDY) for n in range(streams)]
    going = [asyncio.create_task(_go_on(caller, number)) for number, caller in enumerate(callers)]
    try:
        yield
    finally:
        for task in going:
            task.cancel()
        for ended in await asyncio.gather(*going, return_exceptions=True):
            if isinstance(ended, NotResumed):
                raise ended
        for caller in callers:
            await caller.close()


async def _go_on(caller: Caller, number: int) -> None:
    while True:
        heard = await caller.ask(_prompt(_OTHERS + number), max_tokens=_BESIDE_TOKENS)
        if heard.error:
            raise NotResumed(f"a stream beside the one that is cut broke: {heard.error}")


def _prompt(number: int) -> str:
    return f"Traveller number {number + 1} stands where two roads meet. Tell a long story of the way that they take."
