"""What a gateway does with a registry, alone in its process: read all, verify, decide what is routable, follow.

`python -m bench.reading URL LIVE` prints one JSON line when everything has been read, and another after LIVE more
adverts have come, one by one; each says what it took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from bench.process import cpu_s, memory_mib
from gateway.collecting import collect_seldom
from gateway.directory import Directory
from registry.backend import Backend, open_backend
from registry.trust import Policy, Trust


async def main(url: str, live: int) -> None:
    collecting = asyncio.create_task(collect_seldom(asyncio.Event()))  # as the gateway does
    backend, trust, directory = open_backend(url), Trust(Policy.parse(("any",))), Directory()
    wall, cpu, memory = time.perf_counter(), cpu_s(), memory_mib()
    async for batch in backend.fetch():
        for raw in batch:
            trust.consider(raw, time.time())
        apply(trust, directory)
    figures = {"seconds": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu, "adverts": len(directory)}
    print(json.dumps({**figures, "mib": memory_mib() - memory, "peak_mib": memory_mib(field="VmHWM")}), flush=True)
    if live:
        print(json.dumps(await follow(backend, live, trust, directory)), flush=True)
    await backend.close()
    collecting.cancel()


async def follow(backend: Backend, live: int, trust: Trust, directory: Directory) -> dict[str, float]:
    """CPU time for each new advert, from the socket to the directory."""
    watching = backend.watch()
    await anext(watching)  # connected
    cpu, number = cpu_s(), 0
    while (number := number + 1) < live:
        trust.consider(await anext(watching), time.time())
        apply(trust, directory)
    return {"cpu_ms_each": (cpu_s() - cpu) / (live - 1) * 1000}


def apply(trust: Trust, directory: Directory) -> None:
    now = time.time()
    for change in trust.changes(now):
        directory.apply(change, now)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
