"""Generators that run in threads, at the pace of whoever reads them."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import aclosing

from node.workers.steps import Slots
from tests.programs import until

LIMIT_S = 60


def _endless() -> Generator[int]:
    yield from itertools.count()


async def test_what_nobody_reads_is_not_made_without_end() -> None:
    slots = Slots(1)
    async with aclosing(slots.steps(_endless)) as steps:
        assert await anext(steps) == 0
        await until(lambda: slots.steps_made > 32, limit_s=LIMIT_S)
        read = [await anext(steps) for _ in range(1000)]
        assert read == list(range(1, 1001))
        assert slots.steps_made < 1100
    await until(lambda: slots.busy == 0, limit_s=LIMIT_S)


async def test_one_who_leaves_frees_the_slot_of_what_waits_for_room() -> None:
    slots = Slots(1)
    for _ in range(3):
        async with aclosing(slots.steps(_endless)) as steps:
            await anext(steps)
            await until(lambda: slots.busy == 1, limit_s=LIMIT_S)
    await until(lambda: slots.busy == 0, limit_s=LIMIT_S)
