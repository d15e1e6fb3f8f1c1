"""When Python looks for unreachable cycles among all objects: seldom, since that holds the loop while it lasts.

Ten thousand adverts are some 0.2 s. They hold no cycles, and are freed without it as soon as newer ones replace them.
"""

from __future__ import annotations

import asyncio
import gc

_EVERY_S = 3600.0
_NEVER = 1_000_000  # collections of the middle generation before Python would look at all by itself


async def collect_seldom(ready: asyncio.Event) -> None:
    """Until cancelled. What has been read by the time it is `ready` is looked at no more."""
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    await ready.wait()
    gc.freeze()
    while True:
        await asyncio.sleep(_EVERY_S)
        gc.collect()
