"""A host that makes messages up without end is given up before long, by whatever way it is read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry.aleph import AlephBackend
from registry.aleph.reader import MAX_ENTRIES
from registry.aleph.walk import BARREN_PAGES, JUNK_PAGES, PAGE
from registry.backend import Unreachable, fetch_all
from tests.fakes.signed import ALICE, signed
from tests.programs import running, until


async def posting(number: int) -> str:
    content = {"address": ALICE.get_address(), "type": "waypost", "content": {"raw": str(number)}, "time": number}
    return json.dumps(await signed(content, "POST", time=float(number)))


@contextlib.asynccontextmanager
async def junk(folder: Path, honest: int, size: int) -> AsyncIterator[AlephBackend]:
    """A reader of a host with so many honest postings, and so many false ones on each of its pages."""
    file = folder / "honest.jsonl"
    file.write_text("".join([await posting(number) + "\n" for number in range(honest)]))
    words = ("-m", "tests.fakes.mutant_aleph", str(file), "0", "0", str(size))
    async with running(words, folder / "host.txt") as host:
        await until(lambda: "\n" in host.output(), host.output)
        reader = AlephBackend(f"aleph+{host.output().splitlines()[0]}", None)
        yield reader
        await reader.close()


async def test_pages_of_false_messages_with_rising_times_come_to_an_end(tmp_path: Path) -> None:
    async with junk(tmp_path, 1, PAGE) as reader:
        with pytest.raises(Unreachable, match="comes to no end"):
            await fetch_all(reader)
        assert reader.faults == (BARREN_PAGES + 1) * PAGE
        with pytest.raises(Unreachable, match="comes to no end"):
            await asyncio.wait_for(anext(reader.watch()), 60)


async def test_an_honest_message_now_and_then_does_not_keep_it_up(tmp_path: Path) -> None:
    async with junk(tmp_path, 100, PAGE) as reader:
        read: list[str] = []
        with pytest.raises(Unreachable, match="comes to no end"):
            async for texts in reader.fetch():
                read += texts
        assert 10 <= len(read) <= JUNK_PAGES // 10


async def test_a_page_of_more_than_was_asked_for_is_refused_unread(tmp_path: Path) -> None:
    async with junk(tmp_path, 1, MAX_ENTRIES) as reader:
        with pytest.raises(Unreachable, match=f"showed {MAX_ENTRIES + 1} messages on one page"):
            await fetch_all(reader)
        assert reader.faults == 0
