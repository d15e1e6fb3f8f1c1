"""What bench.relay does to each target: small answers, many streams, streams as fast as they go, and a crowd.

Each phase measures in a window of its own, after all clients are at work. Not here: clients (relay_load), tables.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from bench.relay_costs import Cost, cost
from bench.relay_load import Asked, Client, Door, Small, Stream, Tally

_CONNECT_S = 10.0
_BEGIN_STEP_S = 0.05
_CALM_STEP_S, _CALM_SHARE, _CALM_LIMIT_S = 0.25, 0.1, 20.0
_CONNECTING = 64  # at once
_TELLING_S = 1.0  # whoever got nothing in so long a window is waiting in vain

C = TypeVar("C", bound=Client)


@dataclass(frozen=True)
class Load:
    """How much is asked of a target. A stream has `tokens` of them, `pace_ms` apart."""

    seconds: float = 5.0
    connections: int = 16
    streams: int = 256
    tokens: int = 250
    pace_ms: int = 20
    eager: int = 64
    crowd: int = 5000
    crowd_pace_ms: int = 200
    ramp_s: float = 1.0  # at least, until the window
    begin_s: float = 60.0  # at most, until each client was given something

    def quick(self) -> Load:
        """For a look."""
        return replace(self, seconds=min(self.seconds, 2.0), crowd=min(self.crowd, 1000))


@dataclass(frozen=True)
class Seen:
    """Of one phase's window."""

    seconds: float
    cost: Cost
    tally: Tally

    def cpu_us_each(self, number: int) -> float:
        return 1e6 * self.cost.cpu_s / number if number else float("nan")


@dataclass(frozen=True)
class Crowd:
    """How fairly many slow streams are served: tokens of each in the window, and the longest wait for one."""

    streams: int
    seen: Seen
    kib_each: float
    least: int
    median: int
    most: int
    gap_s: float


async def small(door: Door, pids: Sequence[int], load: Load) -> Seen:
    """Small answers over kept connections, each asked as the last one is there."""
    tally = Tally()
    making = [partial(Small, tally, _always(door.request(client))) for client in range(load.connections)]
    clients = await _connect(door, making, tally)
    await _at_work(clients, load.ramp_s / 2, load)
    return await _window(clients, tally, pids, load.seconds)


async def streams(door: Door, pids: Sequence[int], load: Load) -> Seen:
    """Streams at an engine's pace, each followed by the next; the first ones are cut so that they end one by one."""
    tally = Tally()
    making = []
    for client in range(load.streams):
        first = max(1, load.tokens * (client + 1) // load.streams)
        making.append(partial(Stream, tally, _lengths(door, client, first, load.tokens, load.pace_ms)))
    clients = await _connect(door, making, tally)
    await _at_work(clients, load.ramp_s, load)
    return await _window(clients, tally, pids, load.seconds)


async def eager(door: Door, pids: Sequence[int], load: Load) -> Seen:
    """Streams as fast as they are taken: how much goes through at most."""
    tally = Tally()
    making = [partial(Stream, tally, _lengths(door, client, 2000, 2000, 0)) for client in range(load.eager)]
    clients = await _connect(door, making, tally)
    await _at_work(clients, load.ramp_s / 2, load)
    return await _window(clients, tally, pids, load.seconds)


async def crowd(door: Door, pids: Sequence[int], load: Load) -> Crowd:
    """Many slow streams at once, each longer than the window, begun over some seconds."""
    tally, before = Tally(), cost(pids)
    making = []
    for client in range(load.crowd):
        making.append(partial(Stream, tally, _lengths(door, client, 10**6, 10**6, load.crowd_pace_ms)))
    clients = await _connect(door, making, tally)
    await _at_work(clients, 0, load)
    clients = [client for client in clients if client.asking]  # those that have failed are errors
    for client in clients:
        client.restart()
    seen = await _window(clients, tally, pids, load.seconds)
    each = sorted(client.progress for client in clients) or [0]
    kib = (seen.cost.rss_kib - before.rss_kib) / max(1, len(clients))
    gap = max((client.gap_s for client in clients), default=float("nan"))
    return Crowd(len(clients), seen, kib, each[0], int(statistics.median(each)), each[-1], gap)


async def _window(clients: Sequence[Client], tally: Tally, pids: Sequence[int], seconds: float) -> Seen:
    """What is counted between two moments; then everybody leaves. Errors count from the beginning on."""
    start, before = replace(tally, errors=dict(tally.errors)), cost(pids)
    had = [client.progress for client in clients]
    tally.first_s = []
    began = time.monotonic()
    await asyncio.sleep(seconds)
    took, after = time.monotonic() - began, cost(pids)
    if seconds >= _TELLING_S:
        for client, count in zip(clients, had, strict=True):
            if client.progress == count:
                client.failed("silent")
    found = Tally(tally.answers - start.answers, tally.tokens - start.tokens, dict(tally.errors), list(tally.first_s))
    for client in clients:
        client.leave()
    await _calm(pids)
    return Seen(took, after.since(before), found)


def _always(asked: Asked) -> Callable[[], Asked]:
    return lambda: asked


def _lengths(door: Door, client: int, first: int, then: int, pace_ms: int) -> Callable[[], Asked]:
    """The first request of a client, and all later ones."""
    requests = iter((door.request(client, tokens=first, pace_ms=pace_ms, stream=True),))
    later = door.request(client, tokens=then, pace_ms=pace_ms, stream=True)
    return lambda: next(requests, later)


async def _connect(door: Door, making: Sequence[Callable[[], C]], tally: Tally) -> list[C]:
    """All clients, a few at a time; one that gets no connection is an error and no client."""
    loop, found, gate = asyncio.get_running_loop(), list[C](), asyncio.Semaphore(_CONNECTING)

    async def one(make: Callable[[], C]) -> None:
        async with gate:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    _, client = await loop.create_connection(make, "127.0.0.1", door.port, ssl=door.tls)
            except (OSError, TimeoutError) as error:
                tally.error(f"no connection ({type(error).__name__})")
            else:
                found.append(client)

    async with asyncio.TaskGroup() as group:
        for make in making:
            group.create_task(one(make))
    return found


async def _at_work(clients: Sequence[Client], ramp_s: float, load: Load) -> None:
    """Until each was given something. Whoever was given nothing in time has failed."""
    await asyncio.sleep(ramp_s)
    deadline = time.monotonic() + load.begin_s
    while any(client.asking and not client.progress for client in clients) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_BEGIN_STEP_S)
    for client in clients:
        if not client.progress:
            client.failed("no first token")


async def _calm(pids: Sequence[int]) -> None:
    """Until the target has got over all who left at once: what that costs is not of the next phase."""
    deadline, last, busy = time.monotonic() + _CALM_LIMIT_S, cost(pids).cpu_s, bool(pids)
    while busy and time.monotonic() < deadline:
        await asyncio.sleep(_CALM_STEP_S)
        now = cost(pids).cpu_s
        last, busy = now, now - last > _CALM_SHARE * _CALM_STEP_S
