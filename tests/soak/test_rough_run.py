"""Clients of every sort, nodes and engines that die, and a board that is away half the time: `make soak`.

WAYPOST_SOAK_S sets for how long, in seconds; a line is told each minute.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import Program
from tests.soak.leaks import Memory, Open, nothing_left
from tests.soak.rough_clients import Crowd, Tally
from tests.soak.rough_scene import Rough, rough_scene
from tests.soak.trouble import Trouble

SOAK_S = float(os.environ.get("WAYPOST_SOAK_S", "300"))
SEED = int(os.environ.get("WAYPOST_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
_LONG_S = 900.0  # memory is held to its limit in runs of that length: in a shorter one it warms up until the end
_MOST_GROWTH = 0.05
_MINUTE_S = 60.0


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 600)
async def test_nothing_is_lost_and_nothing_leaks(tmp_path: Path, tell: Callable[[str], None]) -> None:
    tally, over = Tally(), asyncio.Event()
    async with rough_scene(tmp_path) as rough:
        before, memory = await Open.now(rough), Memory({name: rough.pids()[name] for name in ("gateway", "node1")})
        trouble = Trouble(rough, random.Random(SEED))

        def note(minute: str) -> None:
            line = f"{minute}: {tally}; {dict(trouble.counts)}; {memory}"
            print(line, flush=True)  # seen where the output is not captured
            tell(line)

        async with asyncio.TaskGroup() as group:
            group.create_task(Crowd(rough.door.url, tally).run(over))
            group.create_task(trouble.kill_on(over))
            group.create_task(trouble.send_board_away(over, max(15.0, SOAK_S / 8)))
            group.create_task(memory.follow(over))
            await _minutes(note)
            over.set()
        note(f"WAYPOST_SOAK_SEED={SEED}, {SOAK_S:.0f} s")
        await nothing_left(rough, before)
        logs = "".join(program.output() for program in _programs(rough))
    assert not tally.lost, "\n".join(tally.lost)
    assert "Traceback" not in logs
    if SOAK_S >= _LONG_S:
        assert max(memory.growth().values()) <= _MOST_GROWTH, str(memory)


async def _minutes(tell: Callable[[str], None]) -> None:
    whole, rest = divmod(SOAK_S, _MINUTE_S)
    for minute in range(int(whole)):
        await asyncio.sleep(_MINUTE_S)
        tell(f"{minute + 1} min")
    await asyncio.sleep(rest)


def _programs(rough: Rough) -> list[Program]:
    return [program for program in (rough.door.program, *(host.program for host in rough.hosts)) if program]
