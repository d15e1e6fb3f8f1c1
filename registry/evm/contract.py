"""What stands on the chain under a registry's URL: the chain itself, its blocks, and the contract or something else.

Not here: its entries (logs), what is sent to it (sender).
"""

from __future__ import annotations

import re

from registry.backend import Rejected, Unreachable
from registry.evm.abi import SINCE
from registry.evm.rpc import Refusal, Rpc

__all__ = ["Contract"]

MOST_BLOCKS = 2**40  # no chain comes near

_HASH = re.compile(r"0x[0-9a-f]{64}")
_FAILED = re.compile(r"revert|opcode|instruction|out of gas|stack|jump", re.IGNORECASE)  # in as many words as machines
_NONE = "there is no contract at this address; make one with `waypost registry create`"


class _Another(Unreachable):
    """There is a contract, and it is no registry."""


class Contract:
    """One contract through one host."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._chain_checked = False
        self._is_registry = False

    async def exists(self) -> bool:
        """Is there any contract?"""
        return await self._rpc.data("eth_getCode", self._rpc.place.contract, "latest") != b""

    async def since(self) -> int | None:
        """The block before which nothing was posted; None if there is no contract. Raises Unreachable."""
        try:
            word = await self._rpc.data("eth_call", {"to": self._rpc.place.contract, "data": SINCE}, "latest")
        except Refusal as refusal:
            if refusal.data != "0x" or _FAILED.search(refusal.said):
                raise self._another(refusal.said) from refusal
            raise
        if len(word) == 32:
            self._is_registry = True
            return int.from_bytes(word)
        if word or await self.exists():
            raise self._another(f"it answers {len(word)} bytes")
        return None

    async def check_before_paying(self) -> None:
        """Rejected unless a registry is at the address. Raises Unreachable."""
        if not await self.exists():
            raise Rejected(self._rpc.line(_NONE))
        try:
            known = self._is_registry or await self.since() is not None
        except _Another as another:
            raise Rejected(str(another)) from another
        if not known:
            raise self._rpc.unreachable("shows a contract, and then none; does it lag behind?")

    async def check_chain(self) -> None:
        """Raises Unreachable if the host is of another chain than the URL names."""
        wanted = self._rpc.place.chain
        if wanted is None or self._chain_checked:
            return
        chain = await self._rpc.quantity("eth_chainId")
        if chain != wanted:
            raise self._rpc.unreachable(f"the host is of chain {chain}, the URL says {wanted}; correct one of them")
        self._chain_checked = True

    async def block(self, which: str) -> tuple[int, str]:
        """Number and hash of a block. Raises Unreachable."""
        block = await self._rpc.call("eth_getBlockByNumber", which, False)
        if not isinstance(block, dict) or not _HASH.fullmatch(str(block.get("hash"))):
            raise self._rpc.unreachable(f"shows no block {which}; does it lag behind?")
        number = self._rpc.number(block.get("number"), "eth_getBlockByNumber")
        if number > MOST_BLOCKS:
            raise self._rpc.unreachable(f"claims a block {number}, and no chain has as many; use another host")
        return number, str(block["hash"])

    def _another(self, why: str) -> _Another:
        return _Another(self._rpc.line(f"no Waypost registry at this address ({why})"))
