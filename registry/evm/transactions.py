"""A signed transaction, as bytes. Pure. The package rlp is of the extra `evm`.

Not here: nonces, fees and gas (sender).
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.keys import Wallet, keccak256

__all__ = ["Fees", "Transaction", "signed", "transaction_hash"]

_DYNAMIC_FEE = b"\x02"  # EIP-1559


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per unit of gas: the most, and the tip in it; no tip on a chain without base fee, where the most is paid."""

    most: int
    tip: int | None

    @property
    def offered(self) -> int:
        """What goes to whoever makes the block, at most."""
        return self.most if self.tip is None else self.tip


@dataclass(frozen=True, slots=True)
class Transaction:
    """`to` is empty for one that creates a contract."""

    chain: int
    nonce: int
    fees: Fees
    gas: int
    to: bytes
    data: bytes


def signed(transaction: Transaction, payer: Wallet) -> bytes:
    """What is sent to the chain: EIP-1559, or where there is no tip the older form with the chain's id (EIP-155)."""
    import rlp

    chain, fees = transaction.chain, transaction.fees
    if fees.tip is None:
        fields = [transaction.nonce, fees.most, transaction.gas, transaction.to, 0, transaction.data]
        r, s, odd = _signature(payer, keccak256(rlp.encode([*fields, chain, 0, 0])))
        return bytes(rlp.encode([*fields, chain * 2 + 35 + odd, r, s]))
    fields = [chain, transaction.nonce, fees.tip, fees.most, transaction.gas, transaction.to, 0, transaction.data, []]
    r, s, odd = _signature(payer, keccak256(_DYNAMIC_FEE + rlp.encode(fields)))
    return _DYNAMIC_FEE + bytes(rlp.encode([*fields, odd, r, s]))


def transaction_hash(raw: bytes) -> str:
    return "0x" + keccak256(raw).hex()


def _signature(payer: Wallet, digest: bytes) -> tuple[int, int, int]:
    raw = payer.sign_digest(digest)
    return int.from_bytes(raw[:32]), int.from_bytes(raw[32:64]), raw[64]
