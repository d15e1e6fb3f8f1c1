"""What a reader remembers of the last blocks it read: which entries it has told, and which blocks they were. Pure.

A chain's end is not firm: blocks are replaced by others (reorganisations), a host may lag behind itself, and entries of
the newest blocks may come late. So the last blocks are read again and again, and what was told already is left out.
Not here: asking the chain (board, logs).
"""

from __future__ import annotations

from collections.abc import Iterator

from registry.evm.abi import Entry

__all__ = ["DEPTH", "OVERLAP", "Tail"]

OVERLAP = 16  # blocks read again each time
DEPTH = 256  # blocks remembered; a reorganisation deeper than this is a board that was set back


class Tail:
    """`since` is the block of the contract. What was told of the last DEPTH blocks is known."""

    def __init__(self, since: int) -> None:
        self.since = since
        self._blocks: dict[int, str] = {}  # hashes by number, of blocks up to which all was told
        self._told: dict[tuple[str, int], int] = {}  # entries, with the block they were last seen in

    def __repr__(self) -> str:
        return f"Tail(since={self.since}, last={max(self._blocks, default=None)}, told={len(self._told)})"

    def is_new(self, entry: Entry) -> bool:
        """Was it never told? Of one that was, where it stands now is noted. In the chain's order."""
        new = entry.identity not in self._told
        if not new:
            self.tell(entry)
        return new

    def tell(self, entry: Entry) -> None:
        """Take note of an entry that is told now."""
        self._told[entry.identity] = entry.block
        self._blocks[entry.block] = entry.block_hash

    def reached(self, number: int, block_hash: str | None = None) -> None:
        """All up to this block is told; `block_hash` if the block is known by it."""
        if block_hash is not None:
            self._blocks[number] = block_hash
        lowest = number - DEPTH
        self._blocks = {block: known for block, known in self._blocks.items() if block > lowest + OVERLAP}
        self._told = {identity: block for identity, block in self._told.items() if block > lowest}

    def candidates(self, head: int) -> Iterator[tuple[int, str]]:
        """Blocks up to `head` whose hashes tell where the chain is still the same: the newest, then ever older ones."""
        numbers = sorted((number for number in self._blocks if number <= head), reverse=True)
        step = 1
        while numbers:
            yield numbers[0], self._blocks[numbers[0]]
            numbers = numbers[step:] or numbers[1:][-1:]
            step *= 2

    def replaced(self, number: int) -> None:
        """The block of that number is another one now, and so are all after it."""
        self._blocks = {block: known for block, known in self._blocks.items() if block < number}

    def first_to_read(self, same: int) -> int:
        """Where to read from if the chain is the same up to block `same`."""
        return max(self.since, same - OVERLAP + 1)
