"""Reading from a node that is not to be trusted: no false message passes, and no honest one that it shows is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import postings as p
import pytest
from aleph_boards import SHORT, Opener

from registry.aleph import AlephBackend, Limits
from registry.backend import Unreachable, fetch_all
from tests.fakes.aleph import AlephNode
from tests.fakes.signed import BOB, signed

LIMIT_S = 30
TEXTS = [p.own(seq=number).to_json() for number in range(5)]


async def posted(board: AlephBackend, texts: list[str] = TEXTS) -> None:
    for text in texts:
        await board.publish(text)


async def hashes(node: AlephNode) -> list[str]:
    """Item hashes of the postings, oldest first."""
    counts = await node.control(reset=True)
    assert counts["messages"]
    board = AlephBackend(node.registry, None)
    found = [message.item_hash async for page in board._reader.walk({}) for message in page]
    await board.close()
    return found


async def first(watching: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(watching), LIMIT_S)


LIES: list[dict[str, Any]] = [
    {"alter_item_content": True},
    {"break_signature": True},
    {"swap_sender": BOB.get_address()},
    {"swap_sender": "0x" + "00" * 20},
]


@pytest.mark.parametrize("lie", LIES)
async def test_no_lie_passes_and_nothing_honest_is_lost(lie: dict[str, Any], node: AlephNode, opened: Opener) -> None:
    await posted(opened())
    told = (await hashes(node))[1:3]
    await node.control(**lie, only=told)
    reader = opened()
    assert await fetch_all(reader) == [TEXTS[0], *TEXTS[3:]]
    assert reader.faults >= len(told)


async def test_a_lie_beside_the_signed_content_is_not_even_asked_for(node: AlephNode, opened: Opener) -> None:
    await posted(opened())
    await node.control(lie_content=True, swap_channel="OTHER")
    reader = opened()
    assert await fetch_all(reader) == TEXTS and reader.faults == 0


async def test_false_messages_are_said_aloud_once(
    node: AlephNode, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    await posted(opened())
    await node.control(break_signature=True)
    reader = opened()
    with caplog.at_level(logging.WARNING, "waypost.registry"):
        assert await fetch_all(reader) == [] and await fetch_all(reader) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert reader.faults >= 2 * len(TEXTS)


SHAPES: list[dict[str, Any]] = [
    {"reverse_pages": True},
    {"repeat_messages": True},
    {"repeat_pages": True},
    {"endless": True},
    {"truncate": 2},
    {"total": 0},
    {"total": 10**9},
    {"reverse_pages": True, "repeat_messages": True, "endless": True, "repeat_pages": True},
]


@pytest.mark.parametrize("shape", SHAPES)
async def test_pages_of_any_shape(shape: dict[str, Any], node: AlephNode, opened: Opener) -> None:
    await posted(opened())
    await node.control(**shape)
    assert sorted(await fetch_all(opened())) == sorted(TEXTS)


async def test_what_is_withheld_is_missing_and_nothing_else(node: AlephNode, opened: Opener) -> None:
    await posted(opened())
    await node.control(withhold_hashes=(await hashes(node))[:2])
    reader = opened()
    assert await fetch_all(reader) == TEXTS[2:] and reader.faults == 0


BAD = ["away", "stall", "drip", "huge", "html", "invalid_json", "wrong_shape", "redirect", "500", "429", "503"]


@pytest.mark.parametrize("answer", BAD)
async def test_no_good_answer_is_unreachable_and_told_in_one_line(answer: str, node: AlephNode, opened: Opener) -> None:
    await posted(opened())
    reader = opened(limits=SHORT)
    await node.control(answer=answer)
    with pytest.raises(Unreachable) as caught:
        await fetch_all(reader)
    assert str(caught.value).startswith(f"registry {node.registry}: ") and "\n" not in str(caught.value)
    with pytest.raises(Unreachable):
        await first(reader.watch())
    with pytest.raises(Unreachable):
        await reader.exists()
    with pytest.raises(Unreachable):
        await reader.vm_owner("ab" * 32)
    await node.control(reset=True)
    assert await fetch_all(reader) == TEXTS


async def test_a_new_posting_costs_one_message_and_no_page(node: AlephNode, opened: Opener) -> None:
    writer, reader = opened(), opened()
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


async def test_nothing_is_missed_between_fetch_and_watch(node: AlephNode, opened: Opener) -> None:
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


async def test_each_posting_comes_once_also_after_the_socket_broke(node: AlephNode, opened: Opener) -> None:
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
async def test_what_the_socket_loses_is_found_by_looking(
    fault: dict[str, Any], node: AlephNode, opened: Opener
) -> None:
    writer, reader = opened(), opened(limits=SHORT)
    await posted(writer, TEXTS[:1])
    watching = reader.watch()
    assert await first(watching) == TEXTS[0]
    await node.control(**fault)
    await posted(writer, TEXTS[1:2])
    assert await first(watching) == TEXTS[1]


async def test_looking_goes_back_to_what_is_known_and_keeps_the_order(node: AlephNode, opened: Opener) -> None:
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


async def test_garbage_in_the_socket_ends_the_watch_or_is_left_out(node: AlephNode, opened: Opener) -> None:
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
async def test_no_lie_passes_through_the_socket(lie: dict[str, Any], node: AlephNode, opened: Opener) -> None:
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


async def test_a_socket_outlives_the_limit_of_a_request(node: AlephNode, opened: Opener) -> None:
    reader = opened(limits=replace(SHORT, request_s=0.5, heartbeat_s=0.5))
    new = asyncio.create_task(first(reader.watch()))
    await node.reached(lambda counts: counts["requests"].get("GET /api/v0/messages.json", 0) >= 10)
    assert (await node.counts())["sockets_opened"] == 1
    await posted(opened(), TEXTS[:1])
    assert await new == TEXTS[0]


async def test_a_host_that_stands_still_is_noticed(node: AlephNode, opened: Opener) -> None:
    reader = opened(limits=Limits(heartbeat_s=0.5))
    new = asyncio.create_task(first(reader.watch()))
    await node.reached(lambda counts: bool(counts["requests"].get("GET /api/v0/messages.json")))
    node.program.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable, match="socket"):
            await new
    finally:
        node.program.process.send_signal(signal.SIGCONT)


async def test_messages_with_false_times_do_not_hide_others(node: AlephNode, opened: Opener) -> None:
    """Anybody may date a message a month ahead; it stands at the top of the board for as long."""
    reader, writer = opened(limits=SHORT), opened()
    for number in range(40):
        content = {"address": BOB.get_address(), "type": "waypost", "content": {"raw": str(number)}, "time": 9e9}
        await node.control(publish=await signed(content, "POST", BOB, time=9e9))
    assert len(await fetch_all(reader)) == 40
    await node.control(ws_silent=True)
    watching = reader.watch()
    await posted(writer, TEXTS[:1])
    assert await first(watching) == TEXTS[0]


async def test_one_huge_posting_after_another_only_makes_pages_smaller(node: AlephNode, opened: Opener) -> None:
    writer, reader = opened(), opened()
    texts = [f"{number}" + "x" * 190_000 for number in range(90)]
    await posted(writer, [*texts, *TEXTS])
    assert await fetch_all(reader) == [*texts, *TEXTS]


async def test_closing_ends_a_watch(node: AlephNode, opened: Opener) -> None:
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


async def test_a_watch_that_is_given_up_leaves_no_socket(node: AlephNode, opened: Opener) -> None:
    reader = opened()
    waiting = asyncio.create_task(first(reader.watch()))
    await node.reached(lambda counts: bool(counts["sockets_open"]))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await node.reached(lambda counts: not counts["sockets_open"])


async def test_other_channels_are_other_boards(node: AlephNode, opened: Opener) -> None:
    await posted(opened())
    other = AlephBackend(node.registry.replace("WAYPOST", "OTHER"), None)
    assert not await other.exists() and await fetch_all(other) == []
    await other.close()
