"""The board that is a contract's log: see `registry.backend.Backend`.

Not here: JSON-RPC (rpc), what stands on the chain (contract), ranges (logs), what is remembered (tail), transactions
(sender).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence

from registry.advert import Advert, Curation, Envelope, Kind, Refused, Revocation
from registry.backend import Rejected
from registry.evm.abi import MAX_PAYLOAD_BYTES, Entry, post_call
from registry.evm.contract import Contract
from registry.evm.limits import Limits, limits_of
from registry.evm.logs import Logs
from registry.evm.payload import batches, pack
from registry.evm.rpc import Refusal, Rpc
from registry.evm.sender import POST_GAS, Sender
from registry.evm.tail import DEPTH, OVERLAP, Tail
from registry.evm.url import parse_place
from registry.keys import Wallet

__all__ = ["EvmBackend"]

_NO_PAYER = "posting to a chain costs gas; name a wallet that pays for it with --payer-key FILE"


class EvmBackend:
    """See `registry.backend.Backend`. A posting is final once it is in a block; a new advert mends a reorganisation."""

    def __init__(self, url: str, payer: Wallet | None, limits: Limits | None = None) -> None:
        """ValueError if the URL is wrong, or if there is a payer and the extra `evm` is not installed."""
        self._place = parse_place(url)
        self._rpc = Rpc(self._place, limits or limits_of(self._place.near))
        self._contract = Contract(self._rpc)
        self._logs = Logs(self._rpc)
        self._sender = None if payer is None else Sender(self._rpc, payer)
        self._tail: Tail | None = None

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

    @property
    def paid(self) -> bool:
        return True

    async def exists(self) -> bool:
        await self._contract.check_chain()
        return await self._contract.exists()

    async def publish(self, envelope_json: str) -> None:
        if self._sender is None:
            raise Rejected(self._rpc.line(_NO_PAYER))
        payload = await asyncio.to_thread(pack, envelope_json)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise Rejected(self._rpc.line(f"{len(payload)} bytes, and the contract takes at most {MAX_PAYLOAD_BYTES}"))
        await self._contract.check_before_paying()
        call = post_call(*_label(envelope_json), payload)
        await self._sender.send(bytes.fromhex(self._place.contract[2:]), call, POST_GAS)

    async def fetch(self) -> AsyncIterator[list[str]]:
        await self._contract.check_chain()
        number, block_hash = await self._contract.block("latest")
        tail = await self._from_start(number)
        if tail is not None:
            deep = max(0, number - DEPTH + OVERLAP + 1)
            _, deep_hash = await self._contract.block(hex(deep))
            async for batch in self._untold(tail, tail.since, number):
                for _, entry in batch:
                    tail.tell(entry)
                yield [text for text, _ in batch]
            tail.reached(deep, deep_hash)
            tail.reached(number, block_hash)
        self._tail = tail

    async def watch(self) -> AsyncIterator[str]:
        await self._contract.check_chain()
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
        head = await self._contract.block("latest")
        tail, first = await self._place_to_read_from(head)
        self._tail = tail
        if tail is None:
            return
        try:
            async for batch in self._untold(tail, first, head[0]):
                for text, entry in batch:
                    tail.tell(entry)
                    yield text
        except Refusal:
            # Set back while it was read, or a host that is several: what is missing is read at the next look.
            if (await self._contract.block("latest"))[0] >= head[0]:
                raise
            return
        tail.reached(*head)

    async def _untold(self, tail: Tail, first: int, last: int) -> AsyncIterator[list[tuple[str, Entry]]]:
        """What the blocks have and was not told, with its texts; whoever gets it tells it before asking for more.

        Unpacked a batch at a time, in a thread: a few bytes may become a large text.
        """
        async for end, entries in self._logs.read(first, last):
            new = [entry for entry in entries if tail.is_new(entry)]
            unpacking, telling = batches(entry.payload for entry in new), iter(new)
            while texts := await asyncio.to_thread(next, unpacking, None):
                yield list(zip(texts, telling, strict=False))
            tail.reached(end)

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
        since = await self._contract.since()
        if since is None:
            return None
        # Some chains count a contract's blocks otherwise than their own.
        return Tail(since if since <= head else 0)


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
