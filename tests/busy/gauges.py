"""What gateways and nodes say that they hold now: requests, slots, places in queues. All of it must come back to zero.

And how many tasks they have, which must come back to what it was. Not here: what the kernel knows of their processes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

_HELD = re.compile(r"waypost_(gateway|node)_(\w*in_flight|\w*waiting|\w*queued?|\w*leases|\w*promises)$")
_LIMIT = aiohttp.ClientTimeout(20)
_ZERO_S = 60.0
_KEPT_S = 120.0  # connections that nobody uses any more have tasks of their own


async def held(url: str) -> dict[str, float]:
    """What that process holds now, by the gauge's name."""
    sums: dict[str, float] = {}
    for family in await _families(url):
        for sample in family.samples if family.type == "gauge" and _HELD.fullmatch(family.name) else ():
            sums[family.name] = sums.get(family.name, 0.0) + sample.value
    return sums


async def all_zero(urls: Sequence[str]) -> None:
    """Wait until none of them holds anything."""
    last: list[dict[str, float]] = []
    try:
        async with asyncio.timeout(_ZERO_S):
            while not last or any(count for each in last for count in each.values()):
                last = [await held(url) for url in urls]
                assert all(last), "a process shows none of the gauges"
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"still held after {_ZERO_S} s: {last}") from None


async def tasks(url: str) -> int:
    """How many tasks of asyncio that process has (a gateway's workers: all together)."""
    found = [each.samples[0].value for each in await _families(url) if each.name.endswith("_tasks")]
    assert found, f"{url} does not tell how many tasks it has"
    return int(found[0])


async def tasks_as_before(before: Mapping[str, int]) -> None:
    """Wait until none has more than it had, by its URL."""
    more = dict(before)
    try:
        async with asyncio.timeout(_KEPT_S):
            while more:
                await asyncio.sleep(0.1)
                more = {url: now - count for url, count in before.items() if (now := await tasks(url)) > count}
    except TimeoutError:
        raise AssertionError(f"tasks that have not ended after {_KEPT_S} s: {more}") from None


async def _families(url: str) -> list[Metric]:
    async with aiohttp.ClientSession(timeout=_LIMIT) as session, session.get(f"{url}/metrics") as response:
        return list(text_string_to_metric_families(await response.text()))
