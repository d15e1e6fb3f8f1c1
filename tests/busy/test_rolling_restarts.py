"""Nodes, then gateways, are restarted one after the other under load, and no request is lost: none is even refused.

Clients of the official library, which keep their connections and never ask twice, talk to one address: a HAProxy
before two gateways. It does not ask twice either; the gateways give notice before they refuse anything.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.busy.door import Door
from tests.busy.front import PROGRAM, Front, front
from tests.busy.gauges import all_zero
from tests.busy.load import Load, load
from tests.killing.host import Host
from tests.killing.scene import Crew, Scene, crew

pytestmark = [pytest.mark.engine, pytest.mark.skipif(PROGRAM is None, reason="HAProxy is not installed")]

_MODEL = {"context": 1024, "parallel": 2, "threads": 1}
_CLIENTS = 5
_TOKENS = (4, 40)
_DOORS = {"alone": "1", "crew": "2"}  # by how many workers they have
_NOTICE_S = "5"  # many times what HAProxy takes to hear of it, on a slow machine too
_BETWEEN = 2 * _CLIENTS  # answers between two restarts


@dataclass
class Fleet:
    """Three nodes behind two gateways behind one address."""

    made: Crew
    doors: list[Door]
    front: Front

    async def usable(self, host: Host) -> None:
        """Both gateways send requests to that node again."""
        for door in self.doors:
            assert door.program is not None
            await Scene(self.made.hosts, door.port, door.program).usable(host)


@contextlib.asynccontextmanager
async def _fleet(folder: Path) -> AsyncIterator[Fleet]:
    async with crew(folder, 3, model=_MODEL, crossed=False) as made, contextlib.AsyncExitStack() as exits:
        words = [*made.words, "--open", "--notice-s", _NOTICE_S]
        doors = [
            Door(folder, name, [*words, "--workers", workers], len(made.hosts)) for name, workers in _DOORS.items()
        ]
        for door in doors:
            await exits.enter_async_context(door)
        before = await exits.enter_async_context(front(folder, {door.name: door.port for door in doors}))
        yield Fleet(made, doors, before)


async def test_nodes_and_then_gateways_are_restarted_under_load(tmp_path: Path, tell: Callable[[str], None]) -> None:
    async with _fleet(tmp_path) as fleet:
        async with load([fleet.front.base_url], _CLIENTS, _TOKENS) as running:
            await _restart_nodes(fleet, running)
            nodes = len(running.heard)
            await _restart_gateways(fleet, running)
        await all_zero([door.url for door in fleet.doors] + [f"http://127.0.0.1:{h.port}" for h in fleet.made.hosts])
        served = {heard.node for heard in running.heard if heard.answered}
    tell(f"rolling restarts: {nodes} answers beside three nodes', {len(running.heard) - nodes} beside gateways'")
    assert not running.faults, "\n".join(running.faults)
    assert served == {host.key for host in fleet.made.hosts}


async def _restart_nodes(fleet: Fleet, running: Load) -> None:
    for host in fleet.made.hosts:
        await running.more(_BETWEEN)
        assert host.program is not None
        host.program.process.send_signal(signal.SIGTERM)
        await host.start_again()
        assert "Traceback" not in host.program.output()
        await fleet.usable(host)


async def _restart_gateways(fleet: Fleet, running: Load) -> None:
    names = {door.name for door in fleet.doors}
    for door in fleet.doors:
        await running.more(_BETWEEN)
        await door.stop()
        await fleet.front.takes(names - {door.name})
        await running.more(_BETWEEN)
        await door.start()
        await fleet.front.takes(names)
        assert door.program is not None
        assert "Traceback" not in door.program.output()
    await running.more(_BETWEEN)
