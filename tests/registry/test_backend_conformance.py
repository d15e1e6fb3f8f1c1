"""What every board must do. A new backend is one more factory here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import postings as p
import pytest

from registry.advert import MAX_ENVELOPE_BYTES
from registry.backend import Backend, BackendError, open_backend
from registry.trust import Policy, Trust

LIMIT_S = 10
ROOT = Path(__file__).resolve().parents[2]


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'board.db'}"


@pytest.fixture(params=[sqlite_url], ids=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param(tmp_path))


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Callable[[], Backend]]:
    """Opens the same board as often as it is called; all are closed at the end."""
    backends: list[Backend] = []

    def another() -> Backend:
        backends.append(open_backend(url))
        return backends[-1]

    yield another
    for backend in backends:
        await backend.close()


async def first(watching: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(watching), LIMIT_S)


async def test_a_new_board_is_empty(opened: Callable[[], Backend], url: str) -> None:
    board = opened()
    assert not await board.exists() and await board.fetch() == [] and board.url == url
    await board.publish("x")
    assert await board.exists()


async def test_what_is_posted_is_fetched_by_all_oldest_first(opened: Callable[[], Backend]) -> None:
    one, two = opened(), opened()
    texts = [p.own(seq=number).to_json() for number in range(5)]
    for text in texts:
        await one.publish(text)
    assert await two.fetch() == texts == await one.fetch() == await one.fetch()


async def test_anything_can_be_posted(opened: Callable[[], Backend]) -> None:
    board = opened()
    garbage = ["", "garbage", "{}", "\x00{\x00", "'; DROP TABLE postings; --", "你好 \U0001f600", "[" * 10_000, "\n"]
    for text in [*garbage, "x" * (2 * MAX_ENVELOPE_BYTES), "\ud800"]:
        await board.publish(text)
    await board.publish(p.own().to_json())
    found = await board.fetch()
    assert found[: len(garbage)] == garbage and len(found) == len(garbage) + 3
    trust = Trust(Policy.parse(("any",)))
    assert [trust.consider(raw, p.NOW).accepted for raw in found] == [False] * (len(found) - 1) + [True]


async def test_watch_tells_each_new_posting_once(opened: Callable[[], Backend]) -> None:
    reader, writer = opened(), opened()
    await writer.publish("old")
    await reader.fetch()
    watching = reader.watch()
    for text in ("a", "b", "b"):
        await writer.publish(text)
    assert [await first(watching) for _ in range(3)] == ["a", "b", "b"]
    started = asyncio.get_running_loop().time()
    await writer.publish("c")
    assert await first(watching) == "c"
    assert asyncio.get_running_loop().time() - started < 0.5
    await watching.aclose()  # type: ignore[attr-defined]


async def test_watch_misses_nothing_between_fetch_and_watch(opened: Callable[[], Backend]) -> None:
    reader, writer = opened(), opened()
    await reader.fetch()
    await writer.publish("between")
    assert await first(reader.watch()) == "between"


async def test_watch_without_fetch_tells_everything(opened: Callable[[], Backend]) -> None:
    board = opened()
    await board.publish("first")
    assert await first(board.watch()) == "first"


async def test_watch_ends_when_cancelled(opened: Callable[[], Backend]) -> None:
    board = opened()
    await board.fetch()

    async def follow() -> None:
        async for _ in board.watch():
            raise AssertionError("nothing was posted")

    task = asyncio.create_task(follow())
    await board.fetch()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, LIMIT_S)
    await board.publish("still usable")


async def test_retire_tidies_own_older_adverts_alone(opened: Callable[[], Backend]) -> None:
    board = opened()
    old, new = p.own(seq=5).to_json(), p.own(seq=7).to_json()
    others = [p.own(seq=5, operator=p.OTHER.address).to_json(), p.own(seq=5, node=p.NODE_2.public).to_json()]
    kept = ["garbage", *others, p.revocation(seq=1).to_json(), p.curation().to_json()]
    for text in (old, new, *kept):
        await board.publish(text)
    await board.retire(p.OPERATOR.address, p.NODE.public, 7)
    assert await board.fetch() == [new, *kept]


async def test_closing_twice_is_fine_and_using_it_then_is_told(opened: Callable[[], Backend]) -> None:
    board = opened()
    await board.publish("x")
    await board.close()
    await board.close()
    with pytest.raises(BackendError):
        await board.fetch()


WRITER = """
import asyncio, sys
from registry.backend import open_backend

async def main(url, name, count):
    board = open_backend(url)
    for number in range(count):
        await board.publish(f"{name}-{number}")
    await board.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_two_processes_write_at_once(opened: Callable[[], Backend], url: str) -> None:
    reader = opened()
    count = 200
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, url, name, str(count), cwd=ROOT)
        for name in ("one", "two")
    ]
    try:
        codes = await asyncio.wait_for(asyncio.gather(*(writer.wait() for writer in writers)), 60)
    finally:
        for writer in writers:
            with contextlib.suppress(ProcessLookupError):
                writer.kill()
    assert codes == [0, 0]
    found = await reader.fetch()
    for name in ("one", "two"):
        assert [text for text in found if text.startswith(name)] == [f"{name}-{number}" for number in range(count)]


# --- SQLite alone


@pytest.mark.parametrize(
    "bad", ["sqlite://", "sqlite:///", "sqlite://x.db", "sqlite:x.db", "sqlite:///:memory:", "sqlite:////"]
)
def test_a_sqlite_url_names_a_file(bad: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///relative"):
        open_backend(bad)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("postgres://x", "unknown scheme"),
        ("board.db", "sqlite:///relative"),
        ("", "unknown scheme"),
        ("aleph+https://api.example?channel=X", r"waypost\[aleph\]"),
        ("evm+https://rpc.example/0x1", r"waypost\[evm\]"),
    ],
)
def test_an_unknown_scheme_lists_the_known_ones(bad: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_backend(bad)


async def test_a_missing_folder_is_told_and_not_made(tmp_path: Path) -> None:
    board = open_backend(f"sqlite:///{tmp_path}/none/board.db")
    with pytest.raises(BackendError, match="does not exist; create it"):
        await board.fetch()
    assert not (tmp_path / "none").exists()
    await board.close()


async def test_reading_makes_no_file_and_the_first_posting_is_seen(tmp_path: Path) -> None:
    reader, writer = open_backend(sqlite_url(tmp_path)), open_backend(sqlite_url(tmp_path))
    assert await reader.fetch() == [] and not await reader.exists()
    await reader.retire(p.OPERATOR.address, p.NODE.public, 7)
    waiting = asyncio.create_task(first(reader.watch()))
    await reader.fetch()  # runs after the first look of `watch`: both use the one thread
    assert os.listdir(tmp_path) == []
    started = asyncio.get_running_loop().time()
    await writer.publish("a")
    assert await waiting == "a"
    assert asyncio.get_running_loop().time() - started < 2
    await reader.close()
    await writer.close()


def set_back(path: Path, to: int) -> None:
    """As if a copy made when the board had `to` rows were written over it, in place."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM postings WHERE id > ?", (to,))
        db.execute("UPDATE sqlite_sequence SET seq = ?", (to,))


@pytest.mark.parametrize("rows", [5, 100])
@pytest.mark.parametrize("regrown", [0, 1, 3, 4, 200], ids=lambda count: f"regrown-{count}")
async def test_a_board_that_was_set_back_is_told_from_its_start(tmp_path: Path, rows: int, regrown: int) -> None:
    reader, writer = open_backend(sqlite_url(tmp_path)), open_backend(sqlite_url(tmp_path))
    for number in range(rows):
        await writer.publish(f"old-{number}")
    await reader.fetch()
    set_back(tmp_path / "board.db", 2)
    for number in range(regrown):
        await writer.publish(f"new-{number}")
    watching = reader.watch()
    expected = ["old-0", "old-1", *(f"new-{number}" for number in range(regrown))]
    assert [await first(watching) for _ in expected] == expected
    await writer.publish("next")
    assert await first(watching) == "next"
    await reader.close()
    await writer.close()


@pytest.mark.parametrize("others", [0, 3, 100])
async def test_tidying_tells_nothing_again(tmp_path: Path, others: int) -> None:
    reader, writer = open_backend(sqlite_url(tmp_path)), open_backend(sqlite_url(tmp_path))
    for number in range(others):
        await writer.publish(f"other-{number}")
    await writer.publish(p.own(seq=1).to_json())
    await reader.fetch()
    watching = reader.watch()
    for seq in range(2, 12):
        newer = p.own(seq=seq).to_json()
        await writer.publish(newer)
        await writer.retire(p.OPERATOR.address, p.NODE.public, seq)
        assert await first(watching) == newer
    await reader.close()
    await writer.close()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "board.db").write_text("hello " * 1000)
    board = open_backend(sqlite_url(tmp_path))
    for attempt in (board.fetch(), board.publish("x"), anext(board.watch())):
        with pytest.raises(BackendError, match=r"board\.db"):
            await attempt
    await board.close()


async def test_a_board_that_is_taken_away_is_told_and_found_again(tmp_path: Path) -> None:
    reader, writer = open_backend(sqlite_url(tmp_path)), open_backend(sqlite_url(tmp_path))
    for text in ("a", "b"):
        await writer.publish(text)
    await reader.fetch()
    await writer.close()
    for name in ("board.db", "board.db-wal", "board.db-shm"):
        os.unlink(tmp_path / name)
    with pytest.raises(BackendError, match="removed or replaced"):
        await first(reader.watch())
    writer = open_backend(sqlite_url(tmp_path))
    await writer.publish("c")
    assert await first(reader.watch()) == "c"
    await reader.close()
    await writer.close()


async def test_rows_of_other_types_are_read_as_texts(tmp_path: Path) -> None:
    board = open_backend(sqlite_url(tmp_path))
    await board.publish("first")
    with contextlib.closing(sqlite3.connect(tmp_path / "board.db")) as db, db:
        for value in ("text", 7, 1.5, b"\xff\xfe", "nul\x00nul"):
            db.execute("INSERT INTO postings (envelope) VALUES (?)", (value,))
    assert await board.fetch() == ["first", "text", "7", "1.5", "\ufffd\ufffd", "nul\x00nul"]
    await board.close()


async def test_a_relative_url_is_relative_to_the_folder_of_the_process(tmp_path: Path) -> None:
    arguments = ("-c", WRITER, "sqlite:///board.db", "x", "1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writer = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=tmp_path, env=environment)
    assert await asyncio.wait_for(writer.wait(), LIMIT_S) == 0
    board = open_backend(sqlite_url(tmp_path))
    assert await board.fetch() == ["x-0"]
    await board.close()
