"""Forty clients on eight slots, one of them greedy: nobody starves, nothing is lost, whoever comes back when told to is
served, and the engines do as much as they do for eight clients of their own.

WAYPOST_BUSY_S sets for how long, in seconds.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from tests.busy import callers
from tests.busy.asking import client
from tests.busy.crowd import Member, Run, ask_for
from tests.busy.door import Door
from tests.busy.gauges import all_zero
from tests.busy.nodes import OWN_KEY, nodes
from tests.killing.host import Host

pytestmark = pytest.mark.engine

BUSY_S = float(os.environ.get("WAYPOST_BUSY_S", "30"))
_LONG_S = 120.0  # what is held to its limit in runs of that length alone: beside a shorter one other tests run
_CLIENTS = 40
_EACH = 3  # answers a client, at least: on a slow machine that takes longer
_GREED = 20  # questions at a time
_SLOTS = 4  # of each of the two nodes
_MODEL = {"context": 1024 * _SLOTS, "parallel": _SLOTS, "threads": 1}
_SPREAD = 0.11  # of the engine's own speed, from one run to the next


@pytest.mark.parametrize("kind", callers.KINDS)
@pytest.mark.timeout(8 * BUSY_S + 300)
async def test_forty_clients_on_eight_slots(kind: str, tmp_path: Path, tell: Callable[[str], None]) -> None:
    names = [f"client-{number}" for number in range(_CLIENTS)]
    shown = callers.keys(kind, tmp_path, names)
    async with nodes(tmp_path, 2, _MODEL) as made:
        before = await _direct(made.hosts)
        words = [*made.words, *callers.access(kind, tmp_path)]
        async with Door(tmp_path, "gateway", words, len(made.hosts)) as door:
            urls = [door.url, *(f"http://127.0.0.1:{host.port}" for host in made.hosts)]
            async with callers.clients(kind, f"{door.url}/v1", shown) as asking:
                crowd = [Member(name, one) for name, one in zip(names, asking, strict=True)]
                crowd[0].parallel = _GREED
                run = await ask_for(crowd, BUSY_S, answers=_EACH * len(crowd))
                await all_zero(urls)
        after = await _direct(made.hosts)
    tell(f"{kind}, {BUSY_S:.0f} s: {_told(crowd, run)}")
    tell(f"{run.speed:.0f} tokens/s; for eight alone {before:.0f} before, {after:.0f} after")
    _check(crowd, run)
    if BUSY_S >= _LONG_S:
        _check_speed(run.speed, before, after)


async def _direct(hosts: Sequence[Host]) -> float:
    """Tokens a second that the nodes give to as many clients as they have slots."""
    async with contextlib.AsyncExitStack() as exits:
        members = [await exits.enter_async_context(_own(host, number)) for host in hosts for number in range(_SLOTS)]
        return (await ask_for(members, max(8.0, BUSY_S / 4), answers=_EACH * len(members))).speed


@contextlib.asynccontextmanager
async def _own(host: Host, number: int) -> AsyncIterator[Member]:
    asking = client(f"http://127.0.0.1:{host.port}/v1", key=OWN_KEY)
    yield Member(f"{host.name} {number}", asking)
    await asking.close()


def _told(crowd: Sequence[Member], run: Run) -> str:
    greedy, *others = crowd
    means, served = [member.mean_s for member in others], [member.served(run) for member in others]
    came_back, again = sum(member.told for member in others), sum(member.told_again for member in others)
    return (
        f"{sum(served)} answers to {len(others)} clients, {min(served)} to {max(served)} each; "
        f"mean waits {min(means):.1f} to {max(means):.1f} s, median {statistics.median(means):.1f} s; "
        f"{came_back} were told to come back, {again} of them more than once; "
        f"greedy: {greedy.served(run)} answers, mean wait {greedy.mean_s:.1f} s, "
        f"{greedy.told} told to come back, {greedy.told_again} more than once"
    )


def _check(crowd: Sequence[Member], run: Run) -> None:
    greedy, *others = crowd
    assert not [fault for member in crowd for fault in member.faults]
    served = [member.served(run) for member in others]
    middle = statistics.median(served)
    assert min(served) >= middle / 2 - 1, "somebody starved"  # one may be on its way at the end
    assert max(member.mean_s for member in others) <= 2 * statistics.median(member.mean_s for member in others)
    first = 2 * _SLOTS  # all that there are, since it came before anybody else
    share = 2 if BUSY_S >= _LONG_S else 3  # of few answers one more is much
    assert greedy.served(run) <= share * middle + first, "who asks more at a time got more"
    assert not sum(member.told_again for member in others), "came when told to, and was sent away"


def _check_speed(speed: float, *alone: float) -> None:
    """This machine may have been slower for a while: so much as the two runs beside it differ, is no loss either."""
    best = max(alone)
    assert speed >= best * (1 - max(_SPREAD, 1 - min(alone) / best) - _SPREAD / 2)
