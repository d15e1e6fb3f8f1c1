"""An engine's seats: who waits is let in, gives way or leaves, and whoever is told when to come is let in then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.seats import NoSeat, Outcome, Portion, Seats
from node.turns import Share, Turn
from tests.node.residents import fake_engine
from tests.programs import until

A, B, C = ("a",), ("b",), ("c",)
ONE = Portion()


class Scene:
    """Seats of an engine with two slots, at a time that the test says."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.seats = Seats(fake_engine(folder, folder / "none", "m"), lambda: self.now)
        self.tasks: list[asyncio.Task[Turn]] = []

    def counts(self) -> str:
        return str(self.seats.load)

    async def take(self, share: Share, portion: Portion = ONE, queue: int = 4, queue_s: float = 60) -> Turn:
        return await self.seats.take(share, portion, queue, queue_s)

    async def waits(self, share: Share, portion: Portion = ONE, queue: int = 4) -> asyncio.Task[Turn]:
        waiting = self.seats.load.waiting
        task = asyncio.create_task(self.take(share, portion, queue))
        self.tasks.append(task)
        await until(lambda: task.done() or self.seats.load.waiting != waiting)
        return task

    def give_back(self, turn: Turn, held_s: float = 0.0) -> None:
        self.now += held_s
        self.seats.give_back(turn, turn.began, whole=True)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    for turn in made.seats._turns.running:
        made.give_back(turn)
    assert made.seats.idle and made.seats._turns.callers == 0, repr(made.seats)


async def test_a_full_queue_takes_from_who_has_the_most_waiting(scene: Scene) -> None:
    for _ in range(2):
        await scene.take(A)
    for _ in range(3):
        first = await scene.waits(A, queue=4)
    newest = await scene.waits(A, queue=4)
    assert scene.counts() == "2/2+4"
    with pytest.raises(NoSeat) as refused:
        await scene.take(A, queue=4)
    assert refused.value.outcome is Outcome.REFUSED
    polite = asyncio.create_task(scene.take(B, queue=4))
    scene.tasks.append(polite)
    with pytest.raises(NoSeat) as evicted:
        await newest
    assert evicted.value.outcome is Outcome.EVICTED
    assert not first.done()
    scene.give_back(scene.seats._turns.running[0])
    assert (await polite).share == B
    assert scene.seats.outcomes == {Outcome.SERVED: 3, Outcome.REFUSED: 1, Outcome.EVICTED: 1}


async def test_a_wait_ends_in_time(scene: Scene) -> None:
    for _ in range(2):
        await scene.take(A)
    with pytest.raises(NoSeat) as late:
        await scene.take(B, queue_s=0.01)
    assert late.value.outcome is Outcome.TIMED_OUT
    assert scene.counts() == "2/2+0"


async def test_who_comes_back_when_told_is_let_in_before_those_who_were_not(scene: Scene) -> None:
    running = [await scene.take(A), await scene.take(A)]
    for _ in range(2):
        await scene.waits(A, queue=2)
    told_s = scene.seats.come_back_s(B, ONE, 2)
    assert told_s == 13  # two run for 5 s, two after them; and so far off may that be
    for turn in running:
        scene.give_back(turn, 1.0)
    await until(lambda: scene.counts() == "2/2+0")
    others = [await scene.waits(C, queue=2) for _ in range(2)]
    scene.now = told_s - 1.0
    with pytest.raises(NoSeat):
        await scene.take(C, queue=2)
    scene.now = told_s
    back = asyncio.create_task(scene.take(B, queue=2))
    scene.tasks.append(back)
    with pytest.raises(NoSeat):
        await others[1]
    scene.give_back(scene.seats._turns.running[0])
    assert (await back).share == B


async def test_those_told_later_are_told_later_times(scene: Scene) -> None:
    for _ in range(2):
        await scene.take(A)
    told = [scene.seats.come_back_s((str(number),), ONE, 8) for number in range(8)]
    assert told == sorted(told)
    assert told[0] < told[-1]


async def test_a_measured_engine_says_other_times(scene: Scene) -> None:
    for _ in range(30):
        scene.give_back(await scene.take(A), 0.2)
    for _ in range(2):
        await scene.take(A)
    assert scene.seats.come_back_s(B, ONE, 8) == 1
    for _ in range(2):
        scene.give_back(scene.seats._turns.running[0], 100.0)
    for _ in range(2):
        await scene.take(A)
    assert 20 < scene.seats.come_back_s(C, ONE, 8) < 200


async def test_a_request_for_more_than_there_is_takes_all_there_is(scene: Scene) -> None:
    turn = await scene.take(A, Portion(100))
    assert (turn.slots, scene.counts()) == (2, "2/2+0")


async def test_a_large_one_gets_its_slots_beside_an_endless_row_of_small_ones(scene: Scene) -> None:
    small = [await scene.take(A), await scene.take(A)]
    large = await scene.waits(B, Portion(2))
    for _ in range(2):
        await scene.waits(C)
    scene.give_back(small[0])
    assert scene.counts() == "1/2+3"
    scene.give_back(small[1])
    assert (await large).slots == 2


async def test_slots_that_were_kept_for_one_that_leaves_go_on(scene: Scene) -> None:
    small = [await scene.take(A), await scene.take(A)]
    large = await scene.waits(B, Portion(2))
    other = await scene.waits(C)
    scene.give_back(small[0])
    large.cancel()
    assert (await other).share == C
    assert scene.counts() == "2/2+0"
    assert scene.seats.outcomes[Outcome.LEFT] == 1


async def test_who_is_sent_away_is_told_so(scene: Scene) -> None:
    for _ in range(2):
        await scene.take(A)
    waiting = [await scene.waits(B), await scene.waits(C, Portion(2))]
    scene.seats.send_away()
    for task in waiting:
        with pytest.raises(NoSeat) as sent:
            await task
        assert sent.value.outcome is Outcome.DRAINED


@pytest.mark.parametrize("seed", range(8))
async def test_counts_are_zero_whatever_is_cancelled_and_whenever(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)

    async def one(share: Share, slots: int, turns: int) -> None:
        turn = await scene.take(share, Portion(slots), queue=5, queue_s=chance.choice((0.0, 0.001, 60)))
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            scene.give_back(turn)

    tasks = []
    for _ in range(150):
        tasks.append(asyncio.create_task(one((chance.choice("abc"),), chance.randint(1, 3), chance.randint(0, 5))))
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        if chance.random() < 0.4:
            chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert scene.seats.idle
    assert scene.counts() == "0/2+0"
