"""What is made once is made once: for all who ask, whoever of them leaves, and again if it could not be."""

from __future__ import annotations

import asyncio

import pytest

from node.once import Once


async def test_all_get_the_same_and_who_leaves_takes_nothing_along() -> None:
    made, calls, begun, go_on = Once[str](), 0, asyncio.Event(), asyncio.Event()

    async def make() -> str:
        nonlocal calls
        calls += 1
        begun.set()
        await go_on.wait()
        return "made"

    first, second = asyncio.create_task(made.get(make)), asyncio.create_task(made.get(make))
    await begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    assert [await second, await made.get(make), calls] == ["made", "made", 1]


async def test_what_could_not_be_made_is_tried_again() -> None:
    made, calls = Once[int](), 0

    async def make() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("not now")
        return calls

    with pytest.raises(OSError, match="not now"):
        await made.get(make)
    assert [await made.get(make), await made.get(make)] == [2, 2]
