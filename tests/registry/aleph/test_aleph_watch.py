"""Each new posting once, through a socket that is not to be trusted, and by looking where it fails."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace
from typing import Any

import postings as p
import pytest
from aleph_boards import LIES, SHORT, TEXTS, Channel, Opener, first, posted

from registry.aleph import Limits
from registry.backend import Unreachable, fetch_all
from tests.fakes.signed import BOB, signed


async def test_a_new_posting_costs_one_message_and_no_page(node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened(limits=Limits(first_look_s=0.1))
    await posted(writer)
    await fetch_all(reader)
    watching = reader.watch()
    new = asyncio.create_task(first(watching))
    await node.reached(lambda counts: bool(counts["sockets_open"]))
    await node.reached(lambda counts: counts["requests"].get("GET /api/v0/messages.json", 0) >= 4)
    await node.control(reset_counts=True)
    text = p.own(seq=10).to_json()
    await writer.publish(text)
    assert await new == text
    counts = await node.counts()
    assert counts["socket_messages"] == 1 and "GET /api/v0/messages.json" not in counts["requests"]


async def test_nothing_is_missed_between_fetch_and_watch(node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened()
    await posted(writer, TEXTS[:2])
    assert await fetch_all(reader) == TEXTS[:2]
    await posted(writer, TEXTS[2:])
    watching = reader.watch()
    assert [await first(watching) for _ in TEXTS[2:]] == TEXTS[2:]


async def test_watching_without_a_fetch_gives_all(opened: Opener) -> None:
    await posted(opened())
    watching = opened().watch()
    assert [await first(watching) for _ in TEXTS] == TEXTS


async def test_each_posting_comes_once_also_after_the_socket_broke(node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened()
    await node.control(ws_duplicate=True)
    watching = reader.watch()
    await posted(writer, TEXTS[:2])
    assert [await first(watching) for _ in range(2)] == TEXTS[:2]
    await node.control(drop_sockets=True)
    with pytest.raises(Unreachable, match="socket"):
        await first(watching)
    await posted(writer, TEXTS[2:])
    again = reader.watch()
    assert [await first(again) for _ in TEXTS[2:]] == TEXTS[2:]


@pytest.mark.parametrize("fault", [{"ws_skip": 1}, {"ws_silent": True}])
async def test_what_the_socket_loses_is_found_by_looking(fault: dict[str, Any], node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened(limits=SHORT)
    await posted(writer, TEXTS[:1])
    watching = reader.watch()
    assert await first(watching) == TEXTS[0]
    await node.control(**fault)
    await posted(writer, TEXTS[1:2])
    assert await first(watching) == TEXTS[1]


async def test_looking_goes_back_to_what_is_known_and_keeps_the_order(node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened(limits=SHORT)
    watching = reader.watch()
    await posted(writer, TEXTS[:1])
    assert await first(watching) == TEXTS[0]
    await node.control(ws_silent=True)
    many = [p.own(seq=number).to_json() for number in range(100, 180)]
    await node.control(withhold_after=0.0)
    await posted(writer, many)
    await node.control(withhold_after=None)
    assert sorted([await first(watching) for _ in many]) == sorted(many)


async def test_garbage_in_the_socket_ends_the_watch_or_is_left_out(node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened()
    watching = reader.watch()
    await posted(writer, TEXTS[:1])
    assert await first(watching) == TEXTS[0]
    await node.control(ws_garbage=True)
    await posted(writer, TEXTS[1:2])
    with contextlib.suppress(Unreachable):
        assert await first(watching) == TEXTS[1]
    await node.control(reset=True)
    assert await fetch_all(reader) == TEXTS[:2]


@pytest.mark.parametrize("lie", LIES)
async def test_no_lie_passes_through_the_socket(lie: dict[str, Any], node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened()
    watching = reader.watch()
    new = asyncio.create_task(first(watching))
    await node.reached(lambda counts: bool(counts["requests"].get("GET /api/v0/messages.json")))
    await node.control(**lie)
    await posted(writer, TEXTS[:1])
    await node.reached(lambda counts: counts["socket_messages"] == 1)
    await node.control(reset=True)
    await posted(writer, TEXTS[1:2])
    assert await new == TEXTS[1] and reader.faults == 1
    assert await fetch_all(reader) == TEXTS[:2]


async def test_a_socket_outlives_the_limit_of_a_request(node: Channel, opened: Opener) -> None:
    reader = opened(limits=replace(SHORT, request_s=0.5, heartbeat_s=0.5))
    new = asyncio.create_task(first(reader.watch()))
    await node.reached(lambda counts: counts["requests"].get("GET /api/v0/messages.json", 0) >= 10)
    assert (await node.counts())["sockets_opened"] == 1
    await posted(opened(), TEXTS[:1])
    assert await new == TEXTS[0]


async def test_a_host_that_stands_still_is_noticed(node: Channel, opened: Opener) -> None:
    reader = opened(limits=Limits(heartbeat_s=0.5))
    new = asyncio.create_task(first(reader.watch()))
    await node.reached(lambda counts: bool(counts["requests"].get("GET /api/v0/messages.json")))
    node.program.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable, match="socket"):
            await new
    finally:
        node.program.process.send_signal(signal.SIGCONT)


async def test_messages_with_false_times_do_not_hide_others(node: Channel, opened: Opener) -> None:
    """Anybody may date a message a month ahead; it stands at the top of the board for as long."""
    reader, writer = opened(limits=SHORT), opened()
    for number in range(40):
        content = {"address": BOB.get_address(), "type": "waypost", "content": {"raw": str(number)}, "time": 9e9}
        await node.control(publish=await signed(content, "POST", BOB, time=9e9) | {"channel": node.name})
    assert len(await fetch_all(reader)) == 40
    await node.control(ws_silent=True)
    watching = reader.watch()
    await posted(writer, TEXTS[:1])
    assert await first(watching) == TEXTS[0]


async def test_closing_ends_a_watch(node: Channel, opened: Opener) -> None:
    reader = opened()
    watching = reader.watch()
    waiting = asyncio.create_task(first(watching))
    await node.reached(lambda counts: bool(counts["sockets_open"]))
    await reader.close()
    with pytest.raises(Unreachable, match="closed"):
        await waiting
    with pytest.raises(Unreachable, match="closed"):
        await fetch_all(reader)
    with pytest.raises(Unreachable, match="closed"):
        await reader.publish("x")
    await reader.close()


async def test_a_watch_that_is_given_up_leaves_no_socket(node: Channel, opened: Opener) -> None:
    reader = opened()
    waiting = asyncio.create_task(first(reader.watch()))
    await node.reached(lambda counts: bool(counts["sockets_open"]))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await node.reached(lambda counts: not counts["sockets_open"])
