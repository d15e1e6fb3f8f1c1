"""Gets a transaction into a block, once, whoever else sends with the same wallet at the same time.

Not here: what is sent (board), its bytes (transactions).
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from registry.backend import Pending, Rejected
from registry.evm.abi import explain_revert
from registry.evm.rpc import Refusal, Rpc
from registry.evm.transactions import Fees, Transaction, signed, transaction_hash
from registry.keys import Wallet

__all__ = ["Sender"]

_RACES = 20  # how often another sender with the same wallet may be faster
_RACE_PAUSE_S = 0.2  # at most, at first
_GONE = 3  # looks at which the nonce is used and there is no receipt: some hosts are ahead of themselves
_REMEMBERED = 64  # pending transactions
_USUAL_TIP = 10**9

_KNOWN = re.compile(r"already known|known transaction|already imported|already in", re.IGNORECASE)
_RACED = re.compile(r"nonce|replacement|underpriced", re.IGNORECASE)
_POOR = re.compile(r"insufficient|exceeds allowance|enough funds|out of fund", re.IGNORECASE)
_REVERTED = re.compile(r"revert", re.IGNORECASE)
_CHAIN_ID = re.compile(r"chain.?id", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A transaction on its way; `hashes` are those of all its versions, which have one nonce."""

    transaction: Transaction
    raw: bytes
    hashes: tuple[str, ...]
    since: float


class Sender:
    """One wallet on one chain."""

    def __init__(self, rpc: Rpc, payer: Wallet) -> None:
        self._rpc = rpc
        self._payer = payer
        self._sent: dict[bytes, _Sent] = {}
        self._sending = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Sender({self._payer.address}, pending={len(self._sent)})"

    async def send(self, to: bytes, data: bytes) -> dict[str, Any]:
        """The receipt of a transaction with this input. Raises Pending, Rejected, Unreachable.

        The same input again asks for the one that is pending. `to` is empty to create a contract.
        """
        key = hashlib.sha256(to + data).digest()
        for attempt in range(_RACES):
            async with self._sending:
                await (self._remind(key) if key in self._sent else self._submit(key, to, data))
            receipt = await self._receipt(key) if key in self._sent else None
            if receipt is not None:
                return self._done(key, receipt)
            self._sent.pop(key, None)
            await asyncio.sleep(_RACE_PAUSE_S * random.random() * (attempt + 1))  # noqa: S311 - not a secret
        raise self._rpc.unreachable(f"others send with the wallet {self._payer.address} all the time; use another")

    async def _submit(self, key: bytes, to: bytes, data: bytes) -> None:
        """Send it anew. Afterwards `key` is not known if another sender was faster."""
        transaction = await self._prepare(to, data)
        raw = signed(transaction, self._payer)
        while len(self._sent) >= _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        # Remembered first: a host that does not answer may have taken it.
        self._sent[key] = _Sent(transaction, raw, (transaction_hash(raw),), time.monotonic())
        try:
            taken = await self._deliver(self._sent[key])
        except (Refusal, Rejected):
            del self._sent[key]
            raise
        if not taken:
            del self._sent[key]

    async def _deliver(self, sent: _Sent) -> bool:
        """Hand it to the host; False if there is another with its nonce. Raises Rejected, Unreachable."""
        try:
            await self._rpc.call("eth_sendRawTransaction", "0x" + sent.raw.hex())
        except Refusal as refusal:
            if _KNOWN.search(refusal.said):
                return True
            if _RACED.search(refusal.said):
                return False
            if _POOR.search(refusal.said):
                raise await self._poor(sent.transaction) from refusal
            if _CHAIN_ID.search(refusal.said):
                raise Rejected(str(refusal)) from refusal
            raise
        return True

    async def _prepare(self, to: bytes, data: bytes) -> Transaction:
        address = self._payer.address
        draft = {"from": address, "data": "0x" + data.hex(), **({"to": "0x" + to.hex()} if to else {})}
        chain, nonce, fees, gas = await asyncio.gather(
            self._rpc.quantity("eth_chainId"),
            self._rpc.quantity("eth_getTransactionCount", address, "pending"),
            self._fees(),
            self._gas(draft),
        )
        wanted = self._rpc.place.chain
        if wanted not in (None, chain):
            raise Rejected(self._rpc.line(f"the host is of chain {chain}, the URL says {wanted}; correct one of them"))
        transaction = Transaction(chain, nonce, fees, gas + gas // 10, to, data)
        if await self._balance() < transaction.gas * fees.most:
            raise await self._poor(transaction)
        return transaction

    async def _gas(self, draft: dict[str, str]) -> int:
        try:
            return await self._rpc.quantity("eth_estimateGas", draft)
        except Refusal as refusal:
            if _REVERTED.search(refusal.said) or refusal.data != "0x":
                raise Rejected(self._rpc.line(explain_revert(refusal.data))) from refusal
            if _POOR.search(refusal.said):
                why = f"the wallet {self._payer.address} cannot pay for it; send it funds"
                raise Rejected(self._rpc.line(why)) from refusal
            raise

    async def _fees(self) -> Fees:
        block = await self._rpc.call("eth_getBlockByNumber", "latest", False)
        base = block.get("baseFeePerGas") if isinstance(block, dict) else None
        if base is None:
            return Fees(await self._rpc.quantity("eth_gasPrice"), None)
        try:
            tip = await self._rpc.quantity("eth_maxPriorityFeePerGas")
        except Refusal:
            tip = _USUAL_TIP
        return Fees(2 * self._rpc.number(base, "eth_getBlockByNumber") + tip, tip)

    async def _balance(self) -> int:
        return await self._rpc.quantity("eth_getBalance", self._payer.address, "latest")

    async def _poor(self, transaction: Transaction) -> Rejected:
        has, needs = await self._balance(), transaction.gas * transaction.fees.most
        what = f"has {_coins(has)} on chain {transaction.chain}, and this may cost {_coins(needs)}; send it funds"
        return Rejected(self._rpc.line(f"the wallet {self._payer.address} {what}"))

    async def _remind(self, key: bytes) -> None:
        """Send a pending one again: as it was if the host does not know it, with a higher fee if it takes too long."""
        sent = self._sent[key]
        if await self._rpc.call("eth_getTransactionByHash", sent.hashes[-1]) is not None:
            if time.monotonic() - sent.since < self._rpc.limits.bump_s:
                return
            transaction = replace(sent.transaction, fees=sent.transaction.fees.raised(await self._fees()))
            raw = signed(transaction, self._payer)
            sent = _Sent(transaction, raw, (*sent.hashes, transaction_hash(raw)), time.monotonic())
            self._sent[key] = sent
        await self._deliver(sent)  # if there is another with this nonce, the receipt tells which one is in a block

    async def _receipt(self, key: bytes) -> dict[str, Any] | None:
        """Wait for it; None if another transaction has taken its nonce. Raises Pending."""
        sent = self._sent[key]
        deadline = time.monotonic() + self._rpc.limits.receipt_s
        gone = 0
        while gone < _GONE:
            sent = self._sent.get(key, sent)  # perhaps sent again meanwhile
            used = await self._rpc.quantity("eth_getTransactionCount", self._payer.address, "latest")
            for version in reversed(sent.hashes):
                receipt = await self._rpc.call("eth_getTransactionReceipt", version)
                if isinstance(receipt, dict):
                    return receipt
            gone = gone + 1 if used > sent.transaction.nonce else 0
            if time.monotonic() > deadline:
                raise Pending(self._rpc.line(f"transaction {sent.hashes[-1]} is not in a block yet"))
            await asyncio.sleep(self._rpc.limits.poll_s)
        return None

    def _done(self, key: bytes, receipt: dict[str, Any]) -> dict[str, Any]:
        self._sent.pop(key, None)
        if receipt.get("status") == "0x1":
            return receipt
        name = receipt.get("transactionHash", "unnamed")
        raise Rejected(self._rpc.line(f"transaction {name} failed in its block; it has been paid for"))


def _coins(wei: int) -> str:
    return f"{(Decimal(wei) / 10**18).quantize(Decimal('1e-9')).normalize():f} coins"
