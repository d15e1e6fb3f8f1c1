"""The contract's calls, event and error, as bytes. Pure.

Reading needs one `bytes` out of an event, done by hand here: a gateway then needs no package for it. Writing uses
eth-abi, of the extra `evm`.
Not here: transactions, what a payload means (payload).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

from registry.keys import keccak256

__all__ = ["MAX_PAYLOAD_BYTES", "POSTED", "SINCE", "Entry", "bytecode", "explain_revert", "post_call", "read_entry"]

MAX_PAYLOAD_BYTES = 65536  # the contract's own limit
POSTED = "0x" + keccak256(b"Posted(uint8,bytes32,address,bytes)").hex()
SINCE = "0x" + keccak256(b"since()")[:4].hex()

_POST = keccak256(b"post(uint8,bytes32,bytes)")[:4]
_TOO_LARGE = "0x" + keccak256(b"TooLarge(uint256,uint256)")[:4].hex()
_WORD = 32
_NUMBER = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,15})")
_HASH = re.compile(r"0x[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the contract, and where it stands. Nothing in it is believed."""

    block: int
    block_hash: str
    position: int  # in the block
    transaction: str
    payload: bytes
    ordinal: int = 0  # among the contract's events of that transaction

    @property
    def identity(self) -> tuple[str, int]:
        """The same when a reorganisation puts the transaction into another block."""
        return self.transaction, self.ordinal


def read_entry(log: Any, contract: str) -> Entry:
    """An entry of the log as a host shows it; ValueError if the contract cannot have made it."""
    if not isinstance(log, dict) or log.get("removed") not in (None, False):
        raise ValueError("not an entry")
    topics, address = log.get("topics"), log.get("address")
    if not isinstance(topics, list) or len(topics) != 4 or topics[0] != POSTED:
        raise ValueError("another event")
    if not isinstance(address, str) or address.lower() != contract:
        raise ValueError("another contract")
    if not all(isinstance(topic, str) and _HASH.fullmatch(topic) for topic in topics):
        raise ValueError("a topic that is no word")
    return Entry(
        block=_number(log.get("blockNumber")),
        block_hash=_hash(log.get("blockHash")),
        position=_number(log.get("logIndex")),
        transaction=_hash(log.get("transactionHash")),
        payload=_payload(log.get("data")),
    )


def post_call(kind: int, posting_id: bytes, payload: bytes) -> bytes:
    """The input of a transaction that posts."""
    from eth_abi.abi import encode

    arguments: bytes = encode(("uint8", "bytes32", "bytes"), (kind, posting_id, payload))
    return _POST + arguments


def explain_revert(data: str) -> str:
    """What the contract refused with, in words."""
    if data.startswith(_TOO_LARGE) and len(data) == 2 + 2 * (4 + 2 * _WORD):
        size, most = int(data[10:74], 16), int(data[74:], 16)
        return f"the contract refuses it: {size} bytes, and it takes at most {most}"
    return "the contract refuses it; is it a Waypost registry?"


def bytecode() -> bytes:
    """What creates the contract."""
    file = resources.files("registry") / "contract" / "Registry.bin.hex"
    return bytes.fromhex(file.read_text("ascii").strip())


def _payload(data: Any) -> bytes:
    """The one argument that is not indexed: an offset, a length, and the bytes with zeros behind to a whole word."""
    if not isinstance(data, str) or not data.startswith("0x") or len(data) > 2 * (MAX_PAYLOAD_BYTES + 3 * _WORD):
        raise ValueError("no data, or more than the contract takes")
    raw = bytes.fromhex(data[2:])
    if len(data) != 2 + 2 * len(raw) or int.from_bytes(raw[:_WORD]) != _WORD:
        raise ValueError("not the event's form")
    end = 2 * _WORD + int.from_bytes(raw[_WORD : 2 * _WORD])
    if end > 2 * _WORD + MAX_PAYLOAD_BYTES or len(raw) != end + -end % _WORD or any(raw[end:]):
        raise ValueError("a length that is not that of the data")
    return raw[2 * _WORD : end]


def _number(value: Any) -> int:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise ValueError("not a number")
    return int(value, 16)


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("not a hash")
    return value
