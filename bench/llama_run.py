"""One run of bench.llama: streams that begin at once at one door, and what they cost which process.

Not here: what is started (llama_scene), and what is made of several runs (llama_table).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.llama_client import BadStream, Client, Door, Stream

ENGINE, NODE, GATEWAY = "engine", "node", "gateway"
_RUN_S = 900.0
_SETTLED_S = 0.1  # what a hop does behind an answer's end is its cost too


@dataclass(frozen=True)
class Run:
    """`seconds` is from the first request to the last token; `cpu_s` is user + system time by process."""

    streams: Sequence[Stream]
    seconds: float
    cpu_s: Mapping[str, float]

    @property
    def tokens(self) -> int:
        return sum(stream.tokens for stream in self.streams)

    @property
    def rate(self) -> float:
        """Tokens per second of all streams together, the prompts' time included."""
        return self.tokens / self.seconds

    @property
    def stream_rate(self) -> float:
        return statistics.median(stream.rate for stream in self.streams)

    @property
    def first_ms(self) -> float:
        return 1000 * statistics.median(stream.first_s for stream in self.streams)

    @property
    def hops_share(self) -> float:
        """CPU of node and gateway as a share of the engine's."""
        return (self.cpu_s[NODE] + self.cpu_s[GATEWAY]) / self.cpu_s[ENGINE]

    @property
    def hops_ms_s(self) -> float:
        """CPU of node and gateway in a second of the run, whatever went through them."""
        return 1000 * (self.cpu_s[NODE] + self.cpu_s[GATEWAY]) / self.seconds

    def cpu_us_each(self, process: str) -> float:
        """A token."""
        return 1e6 * self.cpu_s[process] / self.tokens


async def run(door: Door, pids: Mapping[str, int], streams: int, tokens: int) -> Run:
    """Ask, read all to their ends, and count. Raises BadStream."""
    clients: list[Client] = []
    try:
        async with asyncio.timeout(_RUN_S):
            for _ in range(streams):
                clients.append(await door.connect())
            return await _measured(door, clients, pids, tokens)
    except TimeoutError as error:
        raise BadStream(f"not at its end within {_RUN_S:g} s") from error
    except OSError as error:
        raise BadStream(f"no connection: {error}") from error
    finally:
        for client in clients:
            client.leave()


async def _measured(door: Door, clients: Sequence[Client], pids: Mapping[str, int], tokens: int) -> Run:
    requests = [door.request(number, tokens) for number in range(len(clients))]
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    began = time.perf_counter()
    for client, request in zip(clients, requests, strict=True):
        client.ask(request)
    await asyncio.gather(*(client.ended for client in clients))
    seconds = time.perf_counter() - began
    await asyncio.sleep(_SETTLED_S)
    spent = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    return Run([client.stream(tokens) for client in clients], seconds, spent)


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a process, without its children.

    The sum that /proc/PID/stat has in ticks of 10 ms, which is more than a hop takes for a whole stream, from the
    clock that the kernel keeps for each process: clock_getcpuclockid(3).
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError as error:
        raise BadStream(f"process {pid} is gone") from error
