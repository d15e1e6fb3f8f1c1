"""Rounds of requests against one door: how long each took, and what the processes behind it spent.

Not here: which requests, and what is made of the figures (endpoints).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import orjson

from bench.process import cpu_s

_POLL_S = 0.005


class BadAnswer(Exception):
    """What was asked is not answered well; measuring it would mean nothing."""


@dataclass(frozen=True)
class Door:
    """Where requests go: the node, or an engine's own socket."""

    session: aiohttp.ClientSession
    url: str


@dataclass(frozen=True)
class Request:
    """One request, always the same. A `file` makes it a form; a `job` is followed to its end, as sd-server's are."""

    path: str
    fields: Mapping[str, object]
    file: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    job: bool = False

    async def send(self, door: Door) -> None:
        """Until the last byte of a good answer. Raises BadAnswer for any other."""
        url = f"{door.url}/{self.path}"
        async with door.session.post(url, data=self._body(), headers=self.headers) as response:
            body = await response.read()
        if response.status not in (200, 202):
            raise BadAnswer(f"{self.path}: {response.status} {body[:300]!r}")
        if self.job:
            await self._followed(door, orjson.loads(body)["id"])

    def _body(self) -> aiohttp.FormData | aiohttp.JsonPayload:
        if self.file is None:
            return aiohttp.JsonPayload(dict(self.fields))
        form = aiohttp.FormData()
        form.add_field("file", self.file, filename="a.wav", content_type="audio/wav")
        for name, value in self.fields.items():
            form.add_field(name, str(value))
        return form

    async def _followed(self, door: Door, number: str) -> None:
        while True:
            async with door.session.get(f"{door.url}/sdcpp/v1/jobs/{number}") as response:
                told = orjson.loads(await response.read())
            if told["status"] == "completed":
                return
            if told["status"] not in ("queued", "generating"):
                raise BadAnswer(f"{self.path}: {told}")
            await asyncio.sleep(_POLL_S)


@dataclass
class Figures:
    """Of all rounds against one door: seconds of each request, of all rounds, and of CPU by process."""

    each_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)  # requests per second of each round
    cpu_s: dict[int, float] = field(default_factory=dict)

    def percentile_s(self, share: float) -> float:
        ordered = sorted(self.each_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def cpu_ms_each(self, pid: int) -> float:
        return 1000 * self.cpu_s.get(pid, 0.0) / len(self.each_s)


async def rounds(
    requests: Sequence[tuple[Door, Request]], pids: Sequence[int], count: int, at_once: int, pairs: int
) -> list[Figures]:
    """Each pair of rounds begins with another door than the last one, so that neither has the quieter machine."""
    figures = [Figures() for _ in requests]
    for pair in range(pairs):
        order = list(range(len(requests)))
        for index in order if pair % 2 == 0 else reversed(order):
            door, request = requests[index]
            await _round(figures[index], partial(request.send, door), pids, count, at_once)
    return figures


async def _round(
    figures: Figures, send: Callable[[], Awaitable[None]], pids: Sequence[int], count: int, at_once: int
) -> None:
    before = {pid: cpu_s(pid) for pid in pids}
    left = iter(range(count))
    began = time.monotonic()

    async def caller() -> None:
        for _ in left:
            started = time.monotonic()
            await send()
            figures.each_s.append(time.monotonic() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, count)):
            group.create_task(caller())
    figures.rates.append(count / (time.monotonic() - began))
    for pid in pids:
        figures.cpu_s[pid] = figures.cpu_s.get(pid, 0.0) + cpu_s(pid) - before[pid]
