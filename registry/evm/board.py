"""The board that is a contract's log: see `registry.backend.Backend`. And putting such a contract on a chain.

Not here: JSON-RPC (rpc), ranges (logs), what is remembered (tail), transactions (sender).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec

from registry.advert import Advert, Curation, Envelope, Kind, Refused, Revocation
from registry.backend import Rejected, Unreachable
from registry.evm.abi import MAX_PAYLOAD_BYTES, SINCE, bytecode, post_call
from registry.evm.limits import NEAR, Limits
from registry.evm.logs import Logs
from registry.evm.payload import pack, unpack
from registry.evm.rpc import Refusal, Rpc
from registry.evm.sender import Sender
from registry.evm.tail import DEPTH, OVERLAP, Tail
from registry.evm.url import Place, parse_chain, parse_place
from registry.keys import Wallet

__all__ = ["EvmBackend", "deploy"]

_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NO_PAYER = "posting to a chain costs gas; name a wallet that pays for it with --payer-key FILE"
_NO_CONTRACT = "there is no contract at this address; make one with `waypost registry create`"


class EvmBackend:
    """See `registry.backend.Backend`. A posting is final once it is in a block; a new advert mends a reorganisation."""

    def __init__(self, url: str, payer: Wallet | None, limits: Limits | None = None) -> None:
        """ValueError if the URL is wrong, or if there is a payer and the extra `evm` is not installed."""
        self._place = parse_place(url)
        self._rpc = Rpc(self._place, limits or _limits(self._place))
        self._logs = Logs(self._rpc)
        self._sender = None if payer is None else Sender(self._rpc, _checked(payer))
        self._tail: Tail | None = None
        self._chain_checked = False

    def __repr__(self) -> str:
        return f"EvmBackend({self.url}, {self._tail!r}, {self._logs!r})"

    @property
    def url(self) -> str:
        return self._place.url

    @property
    def board(self) -> str:
        return self._place.board

    @property
    def faults(self) -> int:
        return self._logs.faults

    async def exists(self) -> bool:
        await self._check_chain()
        return await self._rpc.data("eth_getCode", self._place.contract, "latest") != b""

    async def publish(self, envelope_json: str) -> None:
        if self._sender is None:
            raise Rejected(self._rpc.line(_NO_PAYER))
        payload = await asyncio.to_thread(pack, envelope_json)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise Rejected(self._rpc.line(f"{len(payload)} bytes, and the contract takes at most {MAX_PAYLOAD_BYTES}"))
        if await self._rpc.data("eth_getCode", self._place.contract, "latest") == b"":
            raise Rejected(self._rpc.line(_NO_CONTRACT))
        kind, posting_id = _label(envelope_json)
        await self._sender.send(bytes.fromhex(self._place.contract[2:]), post_call(kind, posting_id, payload))

    async def fetch(self) -> AsyncIterator[list[str]]:
        await self._check_chain()
        number, block_hash = await self._block("latest")
        tail = await self._from_start(number)
        if tail is not None:
            deep = max(0, number - DEPTH + OVERLAP + 1)
            _, deep_hash = await self._block(hex(deep))
            async for end, entries in self._logs.read(tail.since, number):
                new = [entry.payload for entry in entries if tail.tell(entry)]
                tail.reached(end)
                if new:
                    yield await asyncio.to_thread(_texts, new)
            tail.reached(deep, deep_hash)
            tail.reached(number, block_hash)
        self._tail = tail

    async def watch(self) -> AsyncIterator[str]:
        await self._check_chain()
        seen, looked = -1, 0.0
        while True:
            head = await self._rpc.quantity("eth_blockNumber")
            if head != seen or time.monotonic() - looked >= self._rpc.limits.reread_s:
                seen, looked = head, time.monotonic()
                async for text in self._news():
                    yield text
            await asyncio.sleep(self._rpc.limits.poll_s)

    async def retire(self, operator: str, node: str, below_seq: int) -> None:
        """A chain forgets nothing."""

    async def allow(self, delegate: str) -> bool:
        return False

    async def disallow(self, delegates: Sequence[str]) -> bool:
        return False

    async def vm_owner(self, item_hash: str) -> str | None:
        return None

    async def close(self) -> None:
        await self._rpc.close()

    async def _news(self) -> AsyncIterator[str]:
        """What was not told yet, up to the newest block."""
        head = await self._block("latest")
        tail, first = await self._place_to_read_from(head)
        self._tail = tail
        if tail is None:
            return
        async for end, entries in self._logs.read(first, head[0]):
            for entry in entries:
                if tail.tell(entry):
                    yield unpack(entry.payload)
            tail.reached(end)
        tail.reached(*head)

    async def _place_to_read_from(self, head: tuple[int, str]) -> tuple[Tail | None, int]:
        """What was told, and the block from which the chain may be another since; from the start if all of it is."""
        tail, same = self._tail, await self._same_up_to(head)
        if tail is not None and same is not None and same >= tail.since:
            return tail, tail.first_to_read(same)
        fresh = await self._from_start(head[0])
        if fresh is None:
            return None, 0
        known = tail is not None and same is not None and tail.since == fresh.since
        return tail if known else fresh, fresh.since

    async def _same_up_to(self, head: tuple[int, str]) -> int | None:
        """The newest known block that the chain still has; None if it has none of them."""
        for number, block_hash in self._tail.candidates(head[0]) if self._tail else ():
            if (number, block_hash) == head:
                return number
            block = await self._rpc.call("eth_getBlockByNumber", hex(number), False)
            if isinstance(block, dict) and block.get("hash") == block_hash:
                return number
            if isinstance(block, dict) and self._tail:
                self._tail.replaced(number)
        return None

    async def _from_start(self, head: int) -> Tail | None:
        """Nothing told yet; None if there is no contract."""
        try:
            word = await self._rpc.data("eth_call", {"to": self._place.contract, "data": SINCE}, "latest")
        except Refusal as refusal:
            raise self._rpc.unreachable(f"no Waypost registry at this address ({refusal.said})") from refusal
        if word and len(word) != 32:
            raise self._rpc.unreachable("the contract at this address is no Waypost registry")
        since = int.from_bytes(word)
        # Some chains count a contract's blocks otherwise than their own.
        return Tail(since if since <= head else 0) if word else None

    async def _block(self, which: str) -> tuple[int, str]:
        """Number and hash of a block."""
        block = await self._rpc.call("eth_getBlockByNumber", which, False)
        if not isinstance(block, dict) or not _HASH.fullmatch(str(block.get("hash"))):
            raise self._rpc.unreachable(f"shows no block {which}; does it lag behind?")
        return self._rpc.number(block.get("number"), "eth_getBlockByNumber"), str(block["hash"])

    async def _check_chain(self) -> None:
        wanted = self._place.chain
        if wanted is None or self._chain_checked:
            return
        chain = await self._rpc.quantity("eth_chainId")
        if chain != wanted:
            raise self._rpc.unreachable(f"the host is of chain {chain}, the URL says {wanted}; correct one of them")
        self._chain_checked = True


async def deploy(url: str, payer: Wallet, limits: Limits | None = None) -> str:
    """Put the contract on the chain behind `evm+https://RPC_HOST[/PATH]`; the whole registry URL to use from then on.

    ValueError for a wrong URL; raises Pending, Rejected, Unreachable.
    """
    place = parse_chain(url)
    rpc = Rpc(place, limits or _limits(place))
    try:
        receipt = await Sender(rpc, _checked(payer)).send(b"", bytecode())
    finally:
        await rpc.close()
    address = receipt.get("contractAddress")
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise Unreachable(rpc.line("does not say which address the contract has"))
    return place.with_contract(address.lower())


def _limits(place: Place) -> Limits:
    return NEAR if place.near else Limits()


def _checked(payer: Wallet) -> Wallet:
    if find_spec("eth_abi") is None or find_spec("rlp") is None:
        raise ValueError("registry evm+...: posting needs packages of the extra `evm`; run: pip install 'waypost[evm]'")
    return payer


def _texts(payloads: Sequence[bytes]) -> list[str]:
    return [unpack(payload) for payload in payloads]


def _label(text: str) -> tuple[int, bytes]:
    """Kind and id, for others to filter by. Unverified: whoever believes them is mistaken."""
    try:
        envelope = Envelope.parse(text)
        match envelope.kind:
            case Kind.ADVERT:
                advert = Advert.read(envelope.text)
                return 1, _sha256(advert.operator + advert.node)
            case Kind.REVOCATION:
                return 2, _sha256(Revocation.read(envelope.text).operator)
            case Kind.CURATION:
                return 3, _sha256(Curation.read(envelope.text).curator)
    except Refused:
        pass
    return 0, bytes(32)


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
