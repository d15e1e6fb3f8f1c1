"""A registry that is away for days, and nodes whose clocks are a minute off, change nothing for anybody who asks.

Two real nodes, one a minute ahead of the gateway's clock and one a minute behind, and all three are brought forward by
hours at a time. WAYPOST_AWAY_DAYS sets for how long.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.busy.clocks import LIBRARY, Clock, serving
from tests.busy.door import Door
from tests.busy.load import load
from tests.busy.nodes import Nodes, new_nodes
from tests.killing.host import Host
from tests.killing.scene import Scene
from tests.programs import until

pytestmark = [pytest.mark.engine, pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")]

_DAYS = int(os.environ.get("WAYPOST_AWAY_DAYS", "1"))
_DAY_S, _STEP_S, _SKEW_S = 86_400, 30_600, 60  # two steps are more than two thirds of a day, three more than a day
_MODEL = {"context": 1024, "parallel": 2, "threads": 1}
_RENEWED_S = 90.0


@dataclass
class Times:
    """The scene's: `skew_s` of each node to the gateway."""

    nodes: Nodes
    door: Door
    clock: Clock  # the gateway's
    others: Sequence[Clock]  # the nodes', in the order of the nodes
    skews_s: Sequence[int] = (_SKEW_S, -_SKEW_S)

    def set(self, ahead_s: int) -> None:
        for clock, skew_s in zip(self.others, self.skews_s, strict=True):
            clock.set(ahead_s + skew_s)
        self.clock.set(ahead_s)

    async def each_answers(self) -> None:
        """The gateway still sends to each of the nodes."""
        assert self.door.program is not None
        for host in self.nodes.hosts:
            await Scene(self.nodes.hosts, self.door.port, self.door.program).usable(host)

    async def known_for(self, seconds: int) -> None:
        """Wait until the gateway has adverts that hold for so long from now."""
        until_s = time.time() + self.clock.ahead_s + seconds
        await until(
            lambda: _least(self._ends()) > until_s,
            lambda: f"adverts beyond {until_s}: {self._ends()}",
            limit_s=_RENEWED_S,
        )

    def _ends(self) -> dict[str, int]:
        """When the adverts end that the gateway would know after a restart."""
        (file,) = (self.door.folder / self.door.name).glob("gateway-*.json")
        texts = [
            orjson.loads(each["text"])
            for each in orjson.loads(file.read_bytes())["postings"]
            if each["kind"] == "advert"
        ]
        return {host.name: max(_ends_of(texts, host), default=0) for host in self.nodes.hosts}


def _ends_of(texts: Sequence[dict[str, Any]], host: Host) -> list[int]:
    return [text["expires_at"] for text in texts if text["node"] == host.key]


def _least(ends: dict[str, int]) -> int:
    return min(ends.values())


@contextlib.asynccontextmanager
async def _times(folder: Path) -> AsyncIterator[Times]:
    (folder / "board").mkdir()
    board = f"sqlite:///{folder}/board/registry.db"
    made = await new_nodes(folder, 2, _MODEL, registry=board, advert_life_s=_DAY_S)
    clock, *others = (Clock(folder / f"clock-{name}") for name in ("gateway", "node1", "node2"))
    door = Door(folder, "gateway", [*made.words, "--open"], len(made.hosts), env=clock.environment)
    times = Times(made, door, clock, others)
    times.set(0)
    async with contextlib.AsyncExitStack() as exits:
        for host, its_clock in zip(made.hosts, others, strict=True):
            await exits.enter_async_context(serving(host, its_clock))
        await exits.enter_async_context(door)
        yield times


async def test_a_registry_away_for_days_and_clocks_a_minute_off(tmp_path: Path) -> None:
    async with _times(tmp_path) as times:
        await times.each_answers()
        _send_away(tmp_path)
        for step in range(1, 3 * _DAYS + 1):
            await _go_to(times, step * _STEP_S)
        times.skews_s = (-_SKEW_S, _SKEW_S)  # one is set back, the other one forward
        await _go_to(times, 3 * _DAYS * _STEP_S)
        await _go_to(times, (3 * _DAYS + 1) * _STEP_S)
        await times.door.stop()
        await times.door.start()  # what it knows is what it has written down
        await times.each_answers()
        assert not await _registry_up(times.door)
        _bring_back(tmp_path)
        await _is_up(times.door)
        await times.each_answers()


async def _go_to(times: Times, ahead_s: int) -> None:
    """Clocks are set between two requests: what was under way would be hours old."""
    times.set(ahead_s)
    async with load([f"{times.door.url}/v1"], 2, (2, 8)) as running:
        await times.known_for(_STEP_S)
        await times.each_answers()
        await running.more(4)
    assert not running.faults


def _send_away(folder: Path) -> None:
    (folder / "board").rename(folder / "board-away")


def _bring_back(folder: Path) -> None:
    (folder / "board-away").rename(folder / "board")


async def _registry_up(door: Door) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{door.url}/health") as response:
        return bool((await response.json())["registries"][0]["up"])


async def _is_up(door: Door) -> None:
    deadline = time.monotonic() + _RENEWED_S
    while not await _registry_up(door):
        assert time.monotonic() < deadline, "the registry is back, and the gateway does not see it"
