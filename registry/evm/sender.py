"""Gets a transaction into a block, once, whoever else sends with the same wallet at the same time.

Not here: what is sent (board, deploy), its bytes (transactions), what gas costs (fees).
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

from registry.backend import Pending, Rejected
from registry.evm import fees
from registry.evm.abi import explain_revert
from registry.evm.rpc import Refusal, Rpc
from registry.evm.transactions import Transaction, signed, transaction_hash
from registry.keys import Wallet

__all__ = ["DEPLOY_GAS", "POST_GAS", "Sender"]

POST_GAS = 4_000_000  # at most; the largest posting takes 2.6 million
DEPLOY_GAS = 1_000_000  # at most; it takes 0.2 million

_RACES = 20  # how often another sender with the same wallet may be faster
_RACE_PAUSE_S = 0.2  # at most, at first
_GONE = 3  # looks at which the nonce is used and there is no receipt: some hosts are ahead of themselves
_REMEMBERED = 64  # pending transactions

_KNOWN = re.compile(r"already known|known transaction|already imported|already in", re.IGNORECASE)
_RACED = re.compile(r"nonce|replac", re.IGNORECASE)
_POOR = re.compile(r"insufficient|exceeds allowance|enough funds|out of fund", re.IGNORECASE)
_NEXT = "publishing the same again asks how it went, and a node does so by itself"
_INSTALL = "pip install 'waypost[evm]'"
_REVERTED = re.compile(r"revert", re.IGNORECASE)
_HASH = re.compile(r"0x[0-9a-f]{64}")
_CHAIN_ID = re.compile(r"chain.?id", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A transaction on its way; `hashes` are those of all its versions, which have one nonce. Monotonic seconds."""

    transaction: Transaction
    raw: bytes
    hashes: tuple[str, ...]
    first_s: float
    last_s: float


class _TooCheap(Refusal):
    """The host takes it for a higher fee only."""


class Sender:
    """One wallet on one chain."""

    def __init__(self, rpc: Rpc, payer: Wallet) -> None:
        """ValueError if what it needs is not installed."""
        if find_spec("eth_abi") is None or find_spec("rlp") is None:
            raise ValueError(f"registry evm+...: posting needs packages of the extra `evm`; run: {_INSTALL}")
        self._rpc = rpc
        self._payer = payer
        self._sent: dict[bytes, _Sent] = {}
        self._sending = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Sender({self._payer.address}, pending={len(self._sent)})"

    async def send(self, to: bytes, data: bytes, most_gas: int) -> dict[str, Any]:
        """The receipt of a transaction with this input. Raises Pending, Rejected, Unreachable.

        The same input again asks for the one that is pending. `to` is empty to create a contract.
        """
        key = hashlib.sha256(to + data).digest()
        for attempt in range(_RACES):
            async with self._sending:
                await (self._remind(key) if key in self._sent else self._submit(key, to, data, most_gas))
            receipt = await self._receipt(key) if key in self._sent else None
            if receipt is not None:
                return self._done(key, receipt)
            self._sent.pop(key, None)
            await asyncio.sleep(_RACE_PAUSE_S * random.random() * (attempt + 1))  # noqa: S311 - not a secret
        raise self._rpc.unreachable(f"others send with the wallet {self._payer.address} all the time; use another")

    async def _submit(self, key: bytes, to: bytes, data: bytes, most_gas: int) -> None:
        """Send it anew. Afterwards `key` is not known if another sender was faster."""
        transaction = await self._instead_of_stuck(await self._prepare(to, data, most_gas))
        while len(self._sent) >= _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        try:
            taken = await self._offer(key, self._version(transaction))
        except (Refusal, Rejected):
            self._sent.pop(key, None)
            raise
        if not taken:
            self._sent.pop(key, None)

    async def _instead_of_stuck(self, transaction: Transaction) -> Transaction:
        """In the place of one that has been pending for too long, if that holds up all later ones of this wallet."""
        if not self._sent:
            return transaction
        used = await self._rpc.quantity("eth_getTransactionCount", self._payer.address, "latest")
        holding = [sent for sent in self._sent.values() if sent.transaction.nonce == used]
        stuck = max(holding, key=lambda sent: sent.transaction.fees.most, default=None)
        if stuck is None or time.monotonic() - stuck.first_s < self._rpc.limits.stuck_s:
            return transaction
        higher = fees.raised(stuck.transaction.fees, transaction.fees, fees.most_wei(self._rpc))
        return replace(transaction, nonce=used, fees=higher) if higher else transaction

    def _version(self, transaction: Transaction, earlier: _Sent | None = None) -> _Sent:
        raw, now = signed(transaction, self._payer), time.monotonic()
        hashes = (*(earlier.hashes if earlier else ()), transaction_hash(raw))
        return _Sent(transaction, raw, hashes, earlier.first_s if earlier else now, now)

    async def _offer(self, key: bytes, sent: _Sent) -> bool:
        """Hand it to the host, for more where it is too cheap; False if there is another with its nonce."""
        while True:
            self._sent[key] = sent  # remembered first: a host that does not answer may have taken it
            try:
                return await self._deliver(sent)
            except _TooCheap as cheap:
                more = fees.dearer(sent.transaction.fees, cheap.said, fees.most_wei(self._rpc))
                if more is None:
                    allowed = f"the URL allows {self._rpc.place.max_gwei} gwei; more with max_gwei=N"
                    raise Rejected(f"{cheap}; {allowed}") from cheap
                sent = self._version(replace(sent.transaction, fees=more), sent)

    async def _deliver(self, sent: _Sent) -> bool:
        """Hand it to the host; False if there is another with its nonce. Raises Rejected, Unreachable."""
        try:
            await self._rpc.call("eth_sendRawTransaction", "0x" + sent.raw.hex())
        except Refusal as refusal:
            if _KNOWN.search(refusal.said):
                return True
            if _RACED.search(refusal.said):
                return False
            if fees.is_too_cheap(refusal.said):
                raise _TooCheap(str(refusal), refusal.said, refusal.data, refusal.final) from refusal
            if _POOR.search(refusal.said):
                raise await self._poor(sent.transaction) from refusal
            if _CHAIN_ID.search(refusal.said):
                raise Rejected(str(refusal)) from refusal
            raise
        return True

    async def _prepare(self, to: bytes, data: bytes, most_gas: int) -> Transaction:
        address = self._payer.address
        draft = {"from": address, "data": "0x" + data.hex(), **({"to": "0x" + to.hex()} if to else {})}
        chain, nonce, offer, gas = await asyncio.gather(
            self._rpc.quantity("eth_chainId"),
            self._rpc.quantity("eth_getTransactionCount", address, "pending"),
            fees.ask(self._rpc),
            self._gas(draft, most_gas),
        )
        wanted = self._rpc.place.chain
        if wanted not in (None, chain):
            raise Rejected(self._rpc.line(f"the host is of chain {chain}, the URL says {wanted}; correct one of them"))
        transaction = Transaction(chain, nonce, offer, gas, to, data)
        if await self._balance() < transaction.gas * offer.most:
            raise await self._poor(transaction)
        return transaction

    async def _gas(self, draft: dict[str, str], most: int) -> int:
        """What it may use: a tenth more than the host's estimate."""
        try:
            gas = await self._rpc.quantity("eth_estimateGas", draft)
        except Refusal as refusal:
            if _REVERTED.search(refusal.said) or refusal.data != "0x":
                raise Rejected(self._rpc.line(explain_revert(refusal.data))) from refusal
            if _POOR.search(refusal.said):
                why = f"the wallet {self._payer.address} cannot pay for it; send it funds"
                raise Rejected(self._rpc.line(why)) from refusal
            raise
        if gas > most:
            raise Rejected(self._rpc.line(f"the host says that it takes {gas} gas, and {most} is more than enough"))
        return min(gas + gas // 10, most)

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
            if time.monotonic() - sent.last_s < self._rpc.limits.bump_s:
                return
            try:
                higher = fees.raised(sent.transaction.fees, await fees.ask(self._rpc), fees.most_wei(self._rpc))
            except Rejected:
                higher = None  # more is asked than is allowed; it may be in a block all the same
            if higher is None:
                return
            sent = self._version(replace(sent.transaction, fees=higher), sent)
        await self._offer(key, sent)  # if there is another with this nonce, the receipt tells which one is in a block

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
                raise Pending(self._rpc.line(f"transaction {sent.hashes[-1]} is not in a block yet; {_NEXT}"))
            await asyncio.sleep(self._rpc.limits.poll_s)
        return None

    def _done(self, key: bytes, receipt: dict[str, Any]) -> dict[str, Any]:
        self._sent.pop(key, None)
        if receipt.get("status") == "0x1":
            return receipt
        name = str(receipt.get("transactionHash"))
        shown = name if _HASH.fullmatch(name) else "(unnamed)"
        raise Rejected(self._rpc.line(f"transaction {shown} failed in its block; it has been paid for"))


def _coins(wei: int) -> str:
    return f"{(Decimal(wei) / 10**18).quantize(Decimal('1e-9')).normalize():f} coins"
