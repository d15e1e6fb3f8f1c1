"""Reading from a node that is not to be trusted: no false message passes, and no honest one that it shows is lost."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aleph_boards import LIES, SHORT, TEXTS, Channel, Opener, first, posted

from registry.aleph import AlephBackend
from registry.backend import Unreachable, fetch_all


async def hashes(node: Channel) -> list[str]:
    """Item hashes of the postings, oldest first."""
    counts = await node.control(reset=True)
    assert counts["messages"]
    board = AlephBackend(node.registry, None)
    found = [message.item_hash async for page in board._reader.walk({"channels": node.name}) for message in page]
    await board.close()
    return found


@pytest.mark.parametrize("lie", LIES)
async def test_no_lie_passes_and_nothing_honest_is_lost(lie: dict[str, Any], node: Channel, opened: Opener) -> None:
    await posted(opened())
    told = (await hashes(node))[1:3]
    await node.control(**lie, only=told)
    reader = opened()
    assert await fetch_all(reader) == [TEXTS[0], *TEXTS[3:]]
    assert reader.faults >= len(told)


async def test_a_lie_beside_the_signed_content_is_not_even_asked_for(node: Channel, opened: Opener) -> None:
    await posted(opened())
    await node.control(lie_content=True, swap_channel="OTHER")
    reader = opened()
    assert await fetch_all(reader) == TEXTS and reader.faults == 0


async def test_false_messages_are_said_aloud_once(
    node: Channel, opened: Opener, caplog: pytest.LogCaptureFixture
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
async def test_pages_of_any_shape(shape: dict[str, Any], node: Channel, opened: Opener) -> None:
    await posted(opened())
    await node.control(**shape)
    assert sorted(await fetch_all(opened())) == sorted(TEXTS)


async def test_what_is_withheld_is_missing_and_nothing_else(node: Channel, opened: Opener) -> None:
    await posted(opened())
    await node.control(withhold_hashes=(await hashes(node))[:2])
    reader = opened()
    assert await fetch_all(reader) == TEXTS[2:] and reader.faults == 0


BAD = ["away", "stall", "drip", "huge", "html", "invalid_json", "wrong_shape", "redirect", "500", "429", "503"]


@pytest.mark.parametrize("answer", BAD)
async def test_no_good_answer_is_unreachable_and_told_in_one_line(answer: str, node: Channel, opened: Opener) -> None:
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


async def test_one_huge_posting_after_another_only_makes_pages_smaller(node: Channel, opened: Opener) -> None:
    writer, reader = opened(), opened()
    texts = [f"{number}" + "x" * 190_000 for number in range(90)]
    await posted(writer, [*texts, *TEXTS])
    assert await fetch_all(reader) == [*texts, *TEXTS]


async def test_other_channels_are_other_boards(node: Channel, opened: Opener) -> None:
    await posted(opened())
    other = AlephBackend(f"{node.registry}-OTHER", None)
    assert not await other.exists() and await fetch_all(other) == []
    await other.close()
