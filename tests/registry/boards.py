"""The three kinds of board as the tests use them: a URL of its own for each test, and how to set it back in time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from registry.backend import Backend, open_backend
from registry.evm import deploy
from registry.keys import Wallet
from tests.chain.anvil import Chain
from tests.fakes.aleph import AlephNode

KINDS = ("sqlite", "aleph", "evm")
WRITER = """
import asyncio, sys
from pathlib import Path
from registry.backend import open_backend
from registry.keys import Wallet

async def main(url, name, count, payer):
    board = open_backend(url, payer=Wallet.load(Path(payer)) if payer else None)
    for number in range(count):
        await board.publish(f"{name}-{number}")
    await board.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
"""


@dataclass
class Board:
    """One board. `open` may be called often; everything is closed at the end."""

    url: str
    payer: Wallet | None = None
    asks_leave: bool = False  # of an operator, for its delegate
    starts_empty: bool = True  # there is something before the first posting: a contract
    opened: list[Backend] = field(default_factory=list)

    def open(self, author: Wallet | None = None) -> Backend:
        self.opened.append(open_backend(self.url, author=author, payer=self.payer))
        return self.opened[-1]

    async def mark(self) -> Any:
        """A point in time to set the board back to."""
        raise NotImplementedError

    async def set_back(self, mark: Any) -> None:
        """As if nothing had been posted since `mark`."""
        raise NotImplementedError


class SqliteBoard(Board):
    async def mark(self) -> int:
        with contextlib.closing(sqlite3.connect(self.path)) as db:
            return int(db.execute("SELECT max(id) FROM postings").fetchone()[0])

    async def set_back(self, mark: int) -> None:
        set_back(self.path, mark)

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))


@dataclass
class AlephBoard(Board):
    node: AlephNode | None = None

    async def mark(self) -> set[str]:
        assert self.node
        channel = self.url.partition("channel=")[2]
        async with aiohttp.ClientSession() as session:
            query = {"channels": channel, "pagination": "200"}
            async with session.get(f"{self.node.url}/api/v0/messages.json", params=query) as response:
                return {message["item_hash"] for message in (await response.json())["messages"]}

    async def set_back(self, mark: set[str]) -> None:
        assert self.node
        await self.node.control(withhold_hashes=sorted(await self.mark() - mark))


@dataclass
class EvmBoard(Board):
    chain: Chain | None = None

    async def mark(self) -> Any:
        assert self.chain
        return await self.chain.call("evm_snapshot")

    async def set_back(self, mark: Any) -> None:
        assert self.chain
        assert await self.chain.call("evm_revert", mark)


def set_back(path: Path, to: int) -> None:
    """As if a copy made when the board had `to` rows were written over it, in place."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM postings WHERE id > ?", (to,))
        db.execute("UPDATE sqlite_sequence SET seq = ?", (to,))


@contextlib.asynccontextmanager
async def new_board(kind: str, folder: Path, node: AlephNode, chain: Chain) -> AsyncIterator[Board]:
    """An empty board of that kind, with nothing else on it."""
    if kind == "sqlite":
        board: Board = SqliteBoard(f"sqlite:///{folder / 'board.db'}")
    elif kind == "aleph":
        board = AlephBoard(f"aleph+{node.url}?channel=TEST-{uuid4().hex}", asks_leave=True, node=node)
    else:
        url = await deploy(f"evm+{chain.rpc}", chain.payer)
        board = EvmBoard(url, chain.payer, starts_empty=False, chain=chain)
    try:
        yield board
    finally:
        await asyncio.gather(*(backend.close() for backend in board.opened))
