"""Clients of every sort: steady, in bursts, with large bodies, slow to read, and such that leave before the end.

What an answer is, and when it counts as lost, stands in `tests.busy.asking`: it is whole, or it is a 429 or 503 that
says when to come back, else it is lost. Who leaves loses nothing. Not here: what goes wrong beside them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import orjson
from openai import AsyncOpenAI

from tests.busy.asking import Question, ask, client
from tests.killing.host import MODEL

_TOKENS = (2, 40)
_LARGE_BYTES = 4 * 2**20
_PIECE_BYTES = 64 * 2**10
_BURST = 8
_LIMIT = aiohttp.ClientTimeout(total=None, sock_read=120)


@dataclass
class Tally:
    """What came of all requests so far, by the sort of client."""

    whole: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)  # to come back, by code
    left: int = 0
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.whole.total()} whole {dict(self.whole)}, {self.told.total()} told to come back {dict(self.told)}, "
            f"{self.left} left, {len(self.lost)} lost"
        )


class Crowd:
    """They ask until told that it is over; nobody is cut short then."""

    def __init__(self, url: str, tally: Tally) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._official = client(f"{url}/v1")
        self._tally = tally
        self._over = asyncio.Event()
        self._session: aiohttp.ClientSession

    async def run(self, over: asyncio.Event) -> None:
        self._over = over
        sorts: list[Callable[[random.Random], Awaitable[None]]] = [
            self._steady, self._steady, self._burst, self._large, self._slow, self._leaving, self._leaving,
        ]  # fmt: skip
        async with aiohttp.ClientSession(timeout=_LIMIT) as self._session:
            await asyncio.gather(*(self._go_on(sort, random.Random(n)) for n, sort in enumerate(sorts)))
        await self._official.close()

    async def _go_on(self, sort: Callable[[random.Random], Awaitable[None]], chance: random.Random) -> None:
        while not self._over.is_set():
            await sort(chance)

    async def _steady(self, chance: random.Random) -> None:
        await self._asked("steady", self._official, chance)

    async def _burst(self, chance: random.Random) -> None:
        """Several at once, then nothing for a while."""
        await asyncio.gather(*(self._asked("burst", self._official, chance) for _ in range(_BURST)))
        await self._pause(chance.uniform(0.5, 3.0))

    async def _asked(self, sort: str, asking: AsyncOpenAI, chance: random.Random) -> None:
        question = Question(_text(chance), chance.randint(*_TOKENS), chance.random() < 0.6)
        heard = await ask(asking, question)
        if heard.fault:
            self._tally.lost.append(f"{sort}: {heard.fault}")
        elif heard.come_back_s is not None:
            self._tally.told[heard.code] += 1
            await self._pause(heard.come_back_s)
        else:
            self._tally.whole[sort] += 1

    async def _large(self, chance: random.Random) -> None:
        """A body of megabytes, sent piece by piece."""
        body = _body(chance, stream=False) | {"padding": "x" * _LARGE_BYTES}
        await self._raw("large", _pieces(orjson.dumps(body)), chance, 0.0)

    async def _slow(self, chance: random.Random) -> None:
        """It takes its time with each piece of a stream."""
        await self._raw("slow", orjson.dumps(_body(chance, stream=True)), chance, 0.2)

    async def _raw(self, sort: str, data: object, chance: random.Random, pause_s: float) -> None:
        headers, read = {"Content-Type": "application/json"}, b""
        try:
            async with self._session.post(self._url, data=data, headers=headers) as response:
                async for piece in response.content.iter_chunked(512):
                    read += piece
                    await self._pause(chance.uniform(0, pause_s))
        except (TimeoutError, aiohttp.ClientError) as error:
            self._tally.lost.append(f"{sort}: {error!r} after {read[-300:]!r}")
            return
        if response.status in (429, 503) and response.headers.get("Retry-After", "").isdigit():
            self._tally.told[orjson.loads(read)["error"]["code"]] += 1
            await self._pause(float(response.headers["Retry-After"]))
        elif response.status != 200 or b'"finish_reason":"length"' not in read or b'"error"' in read:
            self._tally.lost.append(f"{sort}: {response.status} {read[-300:]!r}")
        else:
            self._tally.whole[sort] += 1

    async def _leaving(self, chance: random.Random) -> None:
        """It is gone before the head, or within the stream, or before the end of an answer that is none."""
        body = _body(chance, stream=chance.random() < 0.7) | {"max_tokens": 400}
        patience = chance.choice((0.02, 0.2, 1.0, 3.0))
        try:
            async with asyncio.timeout(patience), self._session.post(self._url, json=body) as response:
                await response.read()
        except (TimeoutError, aiohttp.ClientError):
            self._tally.left += 1
        await self._pause(chance.uniform(0, 0.5))

    async def _pause(self, seconds: float) -> None:
        """Shorter once it is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return


def _body(chance: random.Random, *, stream: bool) -> dict[str, object]:
    return {
        "model": MODEL, "stream": stream, "max_tokens": chance.randint(*_TOKENS), "temperature": 0, "seed": 7,
        "ignore_eos": True, "messages": [{"role": "user", "content": _text(chance)}],
    }  # fmt: skip


def _text(chance: random.Random) -> str:
    return f"Tell a story of {chance.randrange(100)} bridges."


async def _pieces(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), _PIECE_BYTES):
        yield raw[start : start + _PIECE_BYTES]
