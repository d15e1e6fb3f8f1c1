"""One node: takes messages in, settles what hangs on others, tells its sockets and its peers. Not here: HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.fakes.aleph_node.credits import Credits
from tests.fakes.aleph_node.message import Code, Envelope, Later, Message, Refused, complete, read_envelope
from tests.fakes.aleph_node.misbehaviour import Misbehaviour
from tests.fakes.aleph_node.peer import Peer
from tests.fakes.aleph_node.rules import check_image, check_message, check_signature, targets
from tests.fakes.aleph_node.sockets import Sockets
from tests.fakes.aleph_node.store import EVERYTHING, Status, Store


class Node:
    """Owns the store, the sockets and the links to peers."""

    def __init__(self, store: Store, misbehaviour: Misbehaviour) -> None:
        self.store = store
        self.credits = Credits(store)
        self.misbehaviour = misbehaviour
        self.sockets = Sockets(store, misbehaviour)
        self.url = ""
        self._peers: dict[str, Peer] = {}
        self._held: set[str] = set()

    async def publish(self, raw: dict[str, Any]) -> Status:
        """Take a message from a user or a peer; raises Malformed. What is new goes on to the peers, good or bad."""
        envelope = read_envelope(raw)
        if self.store.status(envelope.item_hash) is None:
            self._push(raw)
        if self.misbehaviour.takes_as_pending():
            self._held.add(envelope.item_hash)
            self.store.mark(envelope.item_hash, Status.PENDING, raw)
            return Status.PENDING
        return await self._process(envelope, raw)

    async def settle(self, reject: bool) -> int:
        """Process what was held back on request, or reject it; returns how many."""
        held, self._held = self._held, set()
        for raw in self.store.waiting():
            if raw["item_hash"] not in held:
                continue
            if reject:
                self.store.mark(raw["item_hash"], Status.REJECTED, raw, Code.INVALID_FORMAT, {"errors": ["on request"]})
            else:
                await self._process(read_envelope(raw), raw)
        return len(held)

    def load(self, file: Path, trust: bool) -> int:
        """Read messages from a JSON Lines file in one go; `trust` skips every check. Returns how many there are now."""
        raws = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        self.store.add(self._loaded(raws, trust))
        return self.store.count(EVERYTHING)

    def greet(self, url: str, back: bool) -> None:
        """Link with a peer and send it all that is here; `back`: ask it to do the same."""
        if url not in self._peers:
            self._peers[url] = Peer(url)
        peer = self._peers[url]
        if back:
            peer.send({"hello": self.url})
        for raw in self.store.find(EVERYTHING):
            peer.send(self._wrapped(raw))

    async def close(self) -> None:
        await asyncio.gather(*(peer.close() for peer in self._peers.values()))
        await self.sockets.close()
        self.store.close()

    async def _process(self, envelope: Envelope, raw: dict[str, Any]) -> Status:
        status = await self._try(envelope, raw)
        if status is Status.PROCESSED:
            await self._retry_waiting()
        return status

    async def _try(self, envelope: Envelope, raw: dict[str, Any]) -> Status:
        try:
            if self._is_known(envelope):
                return Status.PROCESSED
            check_signature(envelope)
            message = complete(envelope, self.store.file)
            check_message(message, self.store, self.misbehaviour.settings.strict_case)
            if self.credits.counted:
                check_image(message, self.store)
                self.credits.check(message)
        except Later:
            self.store.mark(envelope.item_hash, Status.PENDING, raw)
            return Status.PENDING
        except Refused as why:
            self.store.mark(envelope.item_hash, Status.REJECTED, raw, why.code, why.details)
            return Status.REJECTED
        await self._apply(message)
        self.credits.charge(message)
        return Status.PROCESSED

    def _is_known(self, envelope: Envelope) -> bool:
        """The same message again changes nothing; another signature on its hash, or a forgotten one, is refused."""
        status = self.store.status(envelope.item_hash)
        if status is None or status["status"] in (Status.PENDING, Status.REJECTED):
            return False
        if status["status"] == Status.FORGOTTEN:
            raise Refused(Code.FORGOTTEN_DUPLICATE)
        known = self.store.message(envelope.item_hash)
        if known is None or known.signature != envelope.signature:
            raise Refused(Code.INVALID_SIGNATURE, f"Invalid signature for {envelope.item_hash}")
        return True

    async def _apply(self, message: Message) -> None:
        doomed = targets(message, self.store) if message.type == "FORGET" else []
        self.store.add([message])
        for item_hash in doomed:
            self.store.forget(item_hash, message.item_hash)
        await self.sockets.announce(message)

    async def _retry_waiting(self) -> None:
        """What hung on a message that has come since."""
        for raw in self.store.waiting():
            if raw["item_hash"] not in self._held and await self._try(read_envelope(raw), raw) is Status.PROCESSED:
                await self._retry_waiting()
                return

    def _loaded(self, raws: list[dict[str, Any]], trust: bool) -> Iterable[Message]:
        for raw in raws:
            if trust:
                yield _trusted(raw)
                continue
            envelope = read_envelope(raw)
            check_signature(envelope)
            message = complete(envelope, self.store.file)
            check_message(message, self.store, self.misbehaviour.settings.strict_case)
            yield message

    def _push(self, raw: dict[str, Any]) -> None:
        for peer in self._peers.values():
            peer.send(self._wrapped(raw))

    def _wrapped(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {"message": raw, "file": self.store.file(raw["item_hash"])}


def _trusted(raw: dict[str, Any]) -> Message:
    text = raw["item_content"]
    fields = ("item_hash", "type", "chain", "sender", "signature", "item_type", "item_content", "time")
    return Message(
        **{name: raw[name] for name in fields}, content=json.loads(text), channel=raw.get("channel"), size=len(text)
    )
