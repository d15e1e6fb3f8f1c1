"""The SQLite board: its URLs, its file, and what other writers may do to it. What every board must do is elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import postings as p
import pytest
from boards import WRITER, set_back

from registry.backend import BackendError, fetch_all, open_backend

LIMIT_S = 90
ROOT = Path(__file__).resolve().parents[2]


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'board.db'}"


async def first(watching: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(watching), LIMIT_S)


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
    ],
)
def test_an_unknown_scheme_lists_the_known_ones(bad: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_backend(bad)


async def test_a_missing_folder_is_told_and_not_made(tmp_path: Path) -> None:
    board = open_backend(f"sqlite:///{tmp_path}/none/board.db")
    with pytest.raises(BackendError, match="does not exist; create it"):
        await fetch_all(board)
    assert not (tmp_path / "none").exists()
    await board.close()


async def test_reading_makes_no_file_and_the_first_posting_is_seen(tmp_path: Path) -> None:
    reader, writer = open_backend(sqlite_url(tmp_path)), open_backend(sqlite_url(tmp_path))
    assert await fetch_all(reader) == [] and not await reader.exists()
    await reader.retire(p.OPERATOR.address, p.NODE.public, 7)
    waiting = asyncio.create_task(first(reader.watch()))
    await fetch_all(reader)  # runs after the first look of `watch`: both use the one thread
    assert os.listdir(tmp_path) == []
    started = asyncio.get_running_loop().time()
    await writer.publish("a")
    assert await waiting == "a"
    assert asyncio.get_running_loop().time() - started < 2
    await reader.close()
    await writer.close()


@pytest.mark.parametrize("rows", [5, 100])
@pytest.mark.parametrize("regrown", [0, 1, 3, 4, 200], ids=lambda count: f"regrown-{count}")
async def test_a_board_that_was_set_back_is_told_from_its_start(tmp_path: Path, rows: int, regrown: int) -> None:
    reader, writer = open_backend(sqlite_url(tmp_path)), open_backend(sqlite_url(tmp_path))
    for number in range(rows):
        await writer.publish(f"old-{number}")
    await fetch_all(reader)
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
    await fetch_all(reader)
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
    for attempt in (fetch_all(board), board.publish("x"), anext(board.watch())):
        with pytest.raises(BackendError, match=r"board\.db"):
            await attempt
    await board.close()


async def test_a_board_that_is_taken_away_is_told_and_found_again(tmp_path: Path) -> None:
    reader, writer = open_backend(sqlite_url(tmp_path)), open_backend(sqlite_url(tmp_path))
    for text in ("a", "b"):
        await writer.publish(text)
    await fetch_all(reader)
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
    assert await fetch_all(board) == ["first", "text", "7", "1.5", "\ufffd\ufffd", "nul\x00nul"]
    await board.close()


async def test_a_relative_url_is_relative_to_the_folder_of_the_process(tmp_path: Path) -> None:
    arguments = ("-c", WRITER, "sqlite:///board.db", "x", "1", "")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writer = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=tmp_path, env=environment)
    assert await asyncio.wait_for(writer.wait(), LIMIT_S) == 0
    board = open_backend(sqlite_url(tmp_path))
    assert await fetch_all(board) == ["x-0"]
    await board.close()
