"""`registry.backend.Backend` on the Aleph network: what is asked of a board, said in messages.

Not here: how messages are read (reader) and posted (writer).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from registry.aleph.host import Host
from registry.aleph.limits import Limits
from registry.aleph.messages import POST_TYPE, Forged, Message, checksum, posting, posting_content, verify
from registry.aleph.own import Claim, Own, read_claim
from registry.aleph.reader import Reader
from registry.aleph.record import Record
from registry.aleph.rights import Rights, read_rights
from registry.aleph.url import parse_place
from registry.aleph.writer import Writer
from registry.backend import Pending, Rejected
from registry.fields import DIGEST, matches
from registry.keys import Wallet

__all__ = ["AlephBackend"]

FRESH_S = 60.0  # an advert signed so lately bears its own time on the network
_RUNNING = ("processed", "removing")


class AlephBackend:
    """See `registry.backend.Backend`. Without an author a new wallet posts: boards are open to anybody."""

    def __init__(self, url: str, author: Wallet | None, limits: Limits | None = None) -> None:
        """ValueError if the URL is not aleph+https://HOST[:PORT]?channel=NAME."""
        place = parse_place(url)
        self.url = place.url
        self.board = place.board
        self.paid = False
        self._channel = place.channel
        self._author = author
        self._wallet = author or Wallet.new()
        self._host = Host(place, limits or Limits())
        self._reader = Reader(self._host)
        self._writer = Writer(self._host, self._wallet)
        self._own = Own()

    def __repr__(self) -> str:
        return f"AlephBackend({self._reader!r}, {self._own!r})"

    @property
    def faults(self) -> int:
        return self._reader.faults

    async def exists(self) -> bool:
        return await self._reader.any_posting()

    async def publish(self, envelope_json: str) -> None:
        self._host.check_open()
        claim = read_claim(envelope_json)
        delegated = claim is not None and claim.delegate == self._wallet.address
        address = claim.operator if claim is not None and delegated else self._wallet.address
        moment = _moment(claim, time.time())
        item_hash = await self._writer.post(envelope_json, posting_content(envelope_json), address, moment)
        if claim is not None:
            self._own.add(claim, item_hash, address)

    def fetch(self) -> AsyncIterator[list[str]]:
        return self._reader.fetch()

    def watch(self) -> AsyncIterator[str]:
        return self._reader.watch()

    async def retire(self, operator: str, node: str, below_seq: int) -> None:
        if operator not in self._own.searched:
            await self._search(operator)
        for address, hashes in self._own.older(operator, node, below_seq):
            try:
                await self._writer.forget(hashes, address, time.time())
            except (Rejected, Pending):
                self._own.drop(operator, node, hashes)  # asking again would not help
                raise
            self._own.drop(operator, node, hashes)

    async def allow(self, delegate: str) -> bool:
        await self._change(lambda rights: rights.allowing(delegate, self._channel))
        return True

    async def disallow(self, delegates: Sequence[str]) -> bool:
        await self._change(lambda rights: rights.disallowing(delegates, self._channel))
        return True

    async def vm_owner(self, item_hash: str) -> str | None:
        if not matches(DIGEST, item_hash):
            return None
        answer = await self._host.message(item_hash)
        if answer is None or answer["status"] not in _RUNNING:
            return None
        try:
            message = verify(answer.get("message"))
        except Forged as forged:
            self._reader.fault(forged)
            return None
        if message is None or message.kind != "INSTANCE" or message.item_hash != item_hash:
            return None
        return message.sender if message.sender == message.address else None

    async def close(self) -> None:
        await self._host.close()
        await self._writer.close()

    async def _search(self, operator: str) -> None:
        """Look up what was posted in the operator's name before, as far as this wallet may forget it.

        Nodes let a sender forget its own messages; newer ones let an owner forget whatever was posted in its name.
        """
        filters = {"msgTypes": "POST", "contentTypes": POST_TYPE, "channels": self._channel, "chains": "ETH"}
        async for page in self._reader.walk({**filters, "owners": checksum(operator), "excludeContent": "true"}):
            for message in page:
                if message.address == operator and self._wallet.address in (message.sender, operator):
                    self._remember(message)
        self._own.searched.add(operator)

    def _remember(self, message: Message) -> None:
        text = posting(message)
        claim = None if text is None else read_claim(text)
        if claim is not None and message.address is not None:
            self._own.add(claim, message.item_hash, message.address)

    async def _change(self, change: Callable[[Rights], list[Any] | None]) -> None:
        """Edit the newest list known, from whichever host it came, and see that this host has it.

        It is recorded before it goes out: a host may take it and not say so. It is later than the one before, whatever
        time that bears: nodes go by it.
        """
        if self._author is None:
            raise Rejected(f"registry {self.url}: name the operator's key, only it can say who may post in its name")
        record = Record(self._author)
        shown, recorded = await self._shown_rights(self._author.address), record.load()
        known = max(shown, recorded, key=lambda rights: rights.set_at)
        entries = change(known)
        rights = known if entries is None else Rights(entries, max(time.time(), known.set_at + 0.001))
        if rights.set_at > recorded.set_at:
            record.save(rights)
        try:
            if rights.set_at > shown.set_at:
                await self._writer.set_rights(rights)
        except Rejected:
            record.save(known)
            raise

    async def _shown_rights(self, owner: str) -> Rights:
        filters = {"msgTypes": "AGGREGATE", "addresses": checksum(owner), "chains": "ETH"}
        return read_rights([message async for page in self._reader.walk(filters) for message in page], owner)


def _moment(claim: Claim | None, now: float) -> float:
    """A fresh advert's own time, so that it is one and the same message whichever host it is given to."""
    signed = now if claim is None else claim.seq / 1000
    return signed if abs(signed - now) < FRESH_S else now
