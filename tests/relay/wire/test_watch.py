"""The one clock: it runs while anybody is watched, and one who fails stops nobody else's."""

from __future__ import annotations

import asyncio
import logging

import pytest

from relay.wire.watch import Watch
from tests.relay.wire.scene import Run


class Looker:
    """Counts the looks, and leaves after some."""

    def __init__(self, watch: Watch, looks: int, then: BaseException | None = None) -> None:
        self._watch = watch
        self._left = looks
        self._then = then
        self.times: list[float] = []
        self.done = asyncio.Event()
        self.others: list[Looker] = []
        watch.add(self)

    def look(self, now: float) -> None:
        self.times.append(now)
        self._left -= 1
        if self._left > 0:
            return
        self.done.set()
        if self._then is not None:
            raise self._then
        for it in (self, *self.others):
            self._watch.discard(it)


def test_it_looks_again_and_again_and_then_rests(run: Run) -> None:
    async def scene() -> None:
        watch = Watch(0.01)
        assert repr(watch) == "<Watch of 0, at rest>"
        looker = Looker(watch, 3)
        assert repr(watch) == "<Watch of 1, running>"
        await looker.done.wait()
        assert (len(looker.times), repr(watch)) == (3, "<Watch of 0, at rest>")
        assert looker.times == sorted(set(looker.times))
        again = Looker(watch, 1)
        await again.done.wait()
        assert repr(watch) == "<Watch of 0, at rest>"

    run(scene())


def test_who_was_taken_out_is_not_looked_at(run: Run) -> None:
    async def scene() -> None:
        watch = Watch(0.01)
        two = [Looker(watch, 1), Looker(watch, 1)]
        two[0].others, two[1].others = [two[1]], [two[0]]
        await asyncio.wait([asyncio.ensure_future(each.done.wait()) for each in two], return_when="FIRST_COMPLETED")
        assert sorted(len(each.times) for each in two) == [0, 1]
        assert repr(watch) == "<Watch of 0, at rest>"
        next(each for each in two if not each.times).done.set()

    run(scene())


def test_one_that_fails_is_told_of_and_stops_no_other(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        watch = Watch(0.01)
        Looker(watch, 1, ValueError("a fault"))
        good = Looker(watch, 5)
        with caplog.at_level(logging.ERROR):
            await good.done.wait()
        assert len(good.times) == 5
        assert repr(watch) == "<Watch of 0, at rest>"
        assert len(caplog.records) == 1

    run(scene())


def test_taken_out_before_its_time_nothing_runs(run: Run) -> None:
    async def scene() -> None:
        watch = Watch(3600)
        looker = Looker(watch, 1)
        watch.discard(looker)
        watch.discard(looker)
        assert repr(watch) == "<Watch of 0, at rest>"

    run(scene())
