"""Several hosts of one board: what one withholds the other tells, and everybody can see which one did."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.hosts import GRACE_S
from registry.keys import NodeKey
from tests.gateway.memory_board import MemoryHost
from tests.gateway.scene import Operator
from tests.gateway.whole_gateway import Whole, whole_gateway
from tests.programs import until


async def _health(whole: Whole) -> dict[str, Any]:
    async with whole.session.get(f"{whole.url}/health") as response:
        found = await response.json()
    return {registry["url"]: registry for registry in found["registries"]}


async def _comes(whole: Whole, url: str, **state: object) -> None:
    deadline = time.monotonic() + 10
    while not state.items() <= (last := await _health(whole))[url].items():
        assert time.monotonic() < deadline, last
        await asyncio.sleep(0.02)


async def _metric(whole: Whole, name: str, url: str) -> float:
    async with whole.session.get(f"{whole.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    start = f'waypost_gateway_registry_{name}{{registry="{url}"}} '
    return float(next(line for line in lines if line.startswith(start)).removeprefix(start))


async def test_what_one_host_withholds_is_believed_logged_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    operator, postings = Operator(""), list[str]()
    adverts = [operator.sign(NodeKey.new(), "http://127.0.0.1:9", "m").to_json() for _ in range(3)]
    postings += adverts
    honest = MemoryHost("memory://honest", postings)
    liar = MemoryHost("memory://liar", postings, faults=7, hidden=set(adverts[1:]))
    async with whole_gateway(tmp_path, [honest, liar], ("any",)) as whole:
        await until(lambda: len(whole.follower.directory) == 3)
        await _comes(whole, liar.url, up=True, missing=0, faults=7)
        whole.clock.ahead_s = GRACE_S + 1
        await _comes(whole, liar.url, missing=2)
        await _comes(whole, honest.url, up=True, missing=0)
        assert [await _metric(whole, name, liar.url) for name in ("missing", "faults_total", "up")] == [2, 7, 1]
        await until(lambda: sum("memory://liar withholds" in message for message in caplog.messages) == 1)
        liar.hidden.clear()
        liar.fetched = 0
        await _comes(whole, liar.url, missing=0)
        await until(lambda: any("memory://liar shows what the other" in message for message in caplog.messages))
    assert sum("withholds" in message for message in caplog.messages) == 1


async def test_a_host_that_is_away_is_down_and_the_other_tells_what_is_new(tmp_path: Path) -> None:
    operator, postings = Operator(""), list[str]()
    up, down = MemoryHost("memory://up", postings), MemoryHost("memory://down", postings, away=True)
    async with whole_gateway(tmp_path, [up, down], ("any",)) as whole:
        await _comes(whole, up.url, up=True)
        await up.publish(operator.sign(NodeKey.new(), "http://127.0.0.1:9", "m").to_json())
        await until(lambda: len(whole.follower.directory) == 1)
        assert not (await _health(whole))[down.url]["up"]
        assert await _metric(whole, "up", down.url) == 0
        down.away = False
        await _comes(whole, down.url, up=True)


async def test_what_is_withheld_is_logged_on_a_busy_board_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    operator, postings = Operator(""), list[str]()
    postings.append(operator.sign(NodeKey.new(), "http://127.0.0.1:9", "m").to_json())
    honest = MemoryHost("memory://honest", postings)
    liar = MemoryHost("memory://liar", postings, hidden=set(postings))
    async with whole_gateway(tmp_path, [honest, liar], ("any",)) as whole:
        await until(lambda: len(whole.follower.directory) == 1)
        whole.clock.ahead_s = GRACE_S + 1
        deadline = time.monotonic() + 10
        while not any("memory://liar withholds" in message for message in caplog.messages):
            assert time.monotonic() < deadline
            await honest.publish("garbage")
            await asyncio.sleep(0.02)


async def test_what_ended_by_a_clock_that_was_ahead_counts_again_when_it_is_right(tmp_path: Path) -> None:
    operator = Operator("")
    host = MemoryHost("memory://", [operator.sign(NodeKey.new(), "http://127.0.0.1:9", "m").to_json()])
    async with whole_gateway(tmp_path, [host], ("any",)) as whole:
        await until(lambda: len(whole.follower.directory) == 1)
        whole.clock.ahead_s = 7200
        await until(lambda: len(whole.follower.directory) == 0)
        whole.clock.ahead_s = 0
        await until(lambda: len(whole.follower.directory) == 1)
