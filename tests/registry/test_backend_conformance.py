"""What every board must do, the same tests on each: an SQLite file, Aleph's network, an EVM chain.

A new backend is one more kind in boards.py. What only one kind does stands in a file of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import postings as p
import pytest
from boards import WRITER, Board
from reader import Reader

from registry.advert import MAX_ENVELOPE_BYTES, Reason
from registry.backend import BackendError, Rejected, Unreachable, fetch_all, open_backend
from registry.trust import Policy, Trust

LIMIT_S = 90
ROOT = Path(__file__).resolve().parents[2]


async def first(watching: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(watching), LIMIT_S)


async def test_a_new_board_is_empty(board: Board) -> None:
    opened = board.open()
    assert await opened.exists() != board.starts_empty and await fetch_all(opened) == []
    assert opened.url == board.url and opened.faults == 0
    assert opened.paid == (board.payer is not None)
    await opened.publish("x")
    assert await opened.exists()


async def test_two_hosts_of_one_board_have_one_name(board: Board) -> None:
    assert board.open().board == board.open().board != ""


async def test_what_is_posted_is_fetched_by_all_oldest_first(board: Board) -> None:
    one, two = board.open(), board.open()
    texts = [p.own(seq=number).to_json() for number in range(5)]
    for text in texts:
        await one.publish(text)
    assert await fetch_all(two) == texts == await fetch_all(one) == await fetch_all(one)


async def test_anything_can_be_posted(board: Board) -> None:
    opened = board.open()
    garbage = [
        "garbage",
        "{}",
        "\x00{\x00",
        "'; DROP TABLE postings; --",
        "你好 \U0001f600",
        "[" * 10_000,
        "\n",
        '{"a":1}',
    ]
    garbage += ['{ "a": 1.50, "a": 2 }', "1e999", "null", '{"raw": "x"}', '{"kind":"advert","text":"\\ud800"}']
    for text in garbage:
        await opened.publish(text)
    for text in ("", "x" * (2 * MAX_ENVELOPE_BYTES), "\ud800"):
        with contextlib.suppress(Rejected):  # a board may have its limits, but never breaks
            await opened.publish(text)
    await opened.publish(p.own().to_json())
    found = await fetch_all(opened)
    assert found[: len(garbage)] == garbage
    trust = Trust(Policy.parse(("any",)))
    assert [trust.consider(raw, p.NOW).accepted for raw in found] == [False] * (len(found) - 1) + [True]


async def test_the_largest_envelope_fits(board: Board) -> None:
    opened = board.open()
    text = p.largest().to_json()
    await opened.publish(text)
    assert await fetch_all(opened) == [text]


async def test_watch_tells_each_new_posting_once(board: Board) -> None:
    reader, writer = board.open(), board.open()
    await writer.publish("old")
    await fetch_all(reader)
    watching = reader.watch()
    for text in ("a", "b", "b"):
        await writer.publish(text)
    assert [await first(watching) for _ in range(3)] == ["a", "b", "b"]
    await writer.publish("c")
    assert await first(watching) == "c"
    await watching.aclose()  # type: ignore[attr-defined]


async def test_watch_misses_nothing_between_fetch_and_watch(board: Board) -> None:
    reader, writer = board.open(), board.open()
    await writer.publish("before")
    await fetch_all(reader)
    await writer.publish("between")
    assert await first(reader.watch()) == "between"


async def test_watch_without_fetch_tells_everything(board: Board) -> None:
    opened = board.open()
    await opened.publish("first")
    assert await first(opened.watch()) == "first"


async def test_watch_ends_when_cancelled(board: Board) -> None:
    opened = board.open()
    await fetch_all(opened)

    async def follow() -> None:
        async for _ in opened.watch():
            raise AssertionError("nothing was posted")

    task = asyncio.create_task(follow())
    await fetch_all(opened)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, LIMIT_S)
    await opened.publish("still usable")


async def test_closing_twice_is_fine_and_using_it_then_is_told(board: Board) -> None:
    opened = board.open()
    await opened.publish("x")
    await opened.close()
    await opened.close()
    with pytest.raises(BackendError):
        await fetch_all(opened)


async def test_two_processes_write_at_once(board: Board, tmp_path: Path) -> None:
    reader, count = board.open(), 20
    payer = tmp_path / "payer.key"
    if board.payer:
        board.payer.save(payer)
    words = (str(count), str(payer) if board.payer else "")
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, board.url, name, *words, cwd=ROOT)
        for name in ("one", "two")
    ]
    try:
        codes = await asyncio.wait_for(asyncio.gather(*(writer.wait() for writer in writers)), 120)
    finally:
        for writer in writers:
            with contextlib.suppress(ProcessLookupError):
                writer.kill()
    assert codes == [0, 0]
    found = await fetch_all(reader)
    for name in ("one", "two"):
        assert [text for text in found if text.startswith(name)] == [f"{name}-{number}" for number in range(count)]


# --- what readers make of it: the life of an advert


async def test_published_and_renewed(board: Board) -> None:
    await board.open(p.OPERATOR).allow(p.DELEGATE.address)
    node, reader = board.open(p.DELEGATE), Reader(board)
    await node.publish(p.delegated(seq=5).to_json())
    await reader.read()
    assert reader.believed() == [5]
    watching = reader.watch()
    await node.publish(p.delegated(seq=6).to_json())
    await watching
    assert reader.believed() == [6]


async def test_retired_by_a_tombstone_and_tidied(board: Board) -> None:
    operator, reader = board.open(p.OPERATOR), Reader(board)
    others = [p.own(seq=5, operator=p.OTHER.address).to_json(), p.own(seq=5, node=p.NODE_2.public).to_json()]
    kept = ["garbage", *others, p.revocation(seq=1).to_json(), p.curation().to_json()]
    for text in (p.own(seq=5).to_json(), p.own(seq=6).to_json(), *kept):
        await operator.publish(text)
    tombstone = p.tombstone(seq=7).to_json()
    await operator.publish(tombstone)
    await reader.read()
    assert reader.believed() == []
    await operator.retire(p.OPERATOR.address, p.NODE.public, 7)
    found = await fetch_all(board.open())
    assert [text for text in found if text in (*kept, tombstone)] == [*kept, tombstone]
    assert all(reader.reason(text) is Reason.STALE for text in set(found).difference(kept, [tombstone]))


async def test_nobody_tidies_what_is_another_operators(board: Board) -> None:
    operator, stranger = board.open(p.OPERATOR), board.open(p.OTHER)
    await operator.publish(p.own(seq=5).to_json())
    if board.asks_leave:
        await stranger.retire(p.OPERATOR.address, p.NODE.public, 7)
        assert await fetch_all(board.open()) == [p.own(seq=5).to_json()]


async def test_a_delegate_posts_by_the_operators_leave(board: Board) -> None:
    operator, node = board.open(p.OPERATOR), board.open(p.DELEGATE)
    text = p.delegated(seq=5).to_json()
    if board.asks_leave:
        with pytest.raises(Rejected, match="waypost registry delegate"):
            await node.publish(text)
    assert await operator.allow(p.DELEGATE.address) == board.asks_leave
    assert await operator.allow(p.DELEGATE.address) == board.asks_leave
    await node.publish(text)
    reader = Reader(board)
    await reader.read()
    assert reader.believed() == [5]
    assert await operator.disallow([p.DELEGATE.address]) == board.asks_leave
    if board.asks_leave:
        with pytest.raises(Rejected, match="waypost registry delegate"):
            await node.publish(p.delegated(seq=6).to_json())


async def test_a_revoked_delegate_counts_no_more(board: Board) -> None:
    operator, reader = board.open(p.OPERATOR), Reader(board)
    await operator.allow(p.DELEGATE.address)
    await board.open(p.DELEGATE).publish(p.delegated(seq=5).to_json())
    await reader.read()
    assert reader.believed() == [5]
    watching = reader.watch()
    await operator.publish(p.revocation(p.DELEGATE.address).to_json())
    await watching
    assert reader.believed() == []
    late = p.delegated(seq=9).to_json()
    await board.open().publish(late)  # by whoever
    await reader.read()
    assert reader.believed() == [] and reader.reason(late) is Reason.REVOKED


async def test_equivocation_is_kept_as_proof_until_the_operator_settles_it(board: Board) -> None:
    operator, reader = board.open(p.OPERATOR), Reader(board)
    twins = [p.own(seq=5).to_json(), p.own(seq=5, region="elsewhere").to_json()]
    for text in twins:
        await operator.publish(text)
    await reader.read()
    assert reader.believed() == [] and [reader.reason(text) for text in twins] == [Reason.EQUIVOCATION] * 2
    await operator.publish(p.own(seq=6).to_json())
    await reader.read()
    assert reader.believed() == [6]


async def test_a_replay_by_a_stranger_changes_nothing(board: Board) -> None:
    operator, reader = board.open(p.OPERATOR), Reader(board)
    old = p.own(seq=5).to_json()
    for text in (old, p.own(seq=6).to_json()):
        await operator.publish(text)
    await board.open(p.OTHER).publish(old)
    await reader.read()
    assert reader.believed() == [6] and reader.reason(old) is Reason.STALE


async def test_an_advert_ends(board: Board) -> None:
    text = p.own(seq=5).to_json()
    await board.open(p.OPERATOR).publish(text)
    reader = Reader(board)
    await reader.read()
    assert reader.believed(p.NOW + 3599) == [5] and reader.believed(p.NOW + 3600) == []


async def test_a_board_that_is_rolled_back_takes_nobody_back(board: Board) -> None:
    operator, reader = board.open(p.OPERATOR), Reader(board)
    await operator.publish(p.own(seq=5).to_json())
    mark = await board.mark()
    await operator.publish(p.own(seq=6).to_json())
    await reader.read()
    await board.set_back(mark)
    await reader.read()
    assert reader.believed() == [6] and reader.reason(p.own(seq=5).to_json()) is Reason.STALE
    watching = reader.watch()
    await board.open(p.OPERATOR).publish(p.own(seq=7).to_json())
    await watching
    assert reader.believed() == [7]


async def test_a_curators_list_is_followed(board: Board) -> None:
    await board.open(p.OPERATOR).publish(p.own(seq=5).to_json())
    curator, reader = board.open(p.CURATOR), Reader(board, f"curator:{p.CURATOR.address}")
    await reader.read()
    assert reader.believed() == []
    await curator.publish(p.curation(seq=1, operators=[p.OPERATOR.address]).to_json())
    await reader.read()
    assert reader.believed() == [5]
    watching = reader.watch()
    await curator.publish(p.curation(seq=2).to_json())
    await watching
    assert reader.believed() == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("postgres://x", "unknown scheme"),
        ("board.db", "unknown scheme"),
        ("", "unknown scheme"),
        ("sqlite:x", "sqlite:///"),
    ],
)
def test_an_unknown_scheme_lists_the_known_ones(bad: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_backend(bad)


@pytest.mark.parametrize("url", ["aleph+http://127.0.0.1:9?channel=X", "evm+http://127.0.0.1:9/0x" + "11" * 20])
async def test_a_host_that_is_away_is_told_in_one_line(url: str) -> None:
    backend = open_backend(url, payer=p.OTHER)
    for attempt in (fetch_all(backend), backend.publish("x"), anext(backend.watch()), backend.exists()):
        with pytest.raises(Unreachable) as caught:
            await attempt
        assert "127.0.0.1:9" in str(caught.value) and "\n" not in str(caught.value)
    await backend.close()
