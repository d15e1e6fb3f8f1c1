"""The messages that cost something, or end that: each is signed, kept, and only then sent, so none is paid twice.

A message is known by its hash. Sent once more it is the same one, and a network that has it already charges nothing.
Not here: which machine (plan), what the host does (host).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from deploy.aleph.config import is_hash
from deploy.aleph.extra import sdk
from deploy.aleph.network import NO_CREDITS, SETTLED, Network, Refusal
from deploy.aleph.plan import money
from deploy.aleph.plan_model import Plan
from deploy.aleph.state import Sent, Store
from registry.commands.failure import CommandError
from registry.keys import Wallet

__all__ = ["Cashier", "content_of"]

CHANNEL = "WAYPOST"
_STORAGE_LIMIT_BYTES = 100 * 2**20  # what a node takes into its own storage
_BALANCE, _NO_IMAGE, _TOO_SMALL = 5, 301, 304
_GONE = SETTLED[2:]


class Cashier:
    """Owns the messages in a deployment's record."""

    def __init__(self, store: Store, network: Network, wallet: Wallet, settle_s: float) -> None:
        self._store = store
        self._network = network
        self._wallet = wallet
        self._settle_s = settle_s

    def __repr__(self) -> str:
        return f"Cashier({self._wallet.address}, {self._store!r})"

    async def image(self, image: str, where: str) -> str:
        """The item hash by which machines name the image: of one that is there, or signed now and uploaded later."""
        if is_hash(image):
            known = await self._network.message(image)
            if known is None or known["status"] not in SETTLED[:2] or _type(known) != "STORE":
                said = (
                    "unknown to the network" if known is None else f"{_type(known) or 'a message'}, {known['status']}"
                )
                raise CommandError(f"--image {image}: {said}; name the item hash of a STORE message, or a file")
            return image
        digest = _digest(Path(image))
        record = self._store.record
        kept = record.store if record is not None and record.image_digest == digest else None
        if kept is not None and kept.settled and not await self.is_there(kept.item_hash):
            kept = None
        if kept is None:
            if record is not None and record.store is not None and await self.is_there(record.store.item_hash):
                raise CommandError(
                    f"--image {image} is another file than the one that was uploaded and is paid for as "
                    f"{record.store.item_hash}; name that hash, or destroy this deployment --with-image first"
                )
            ipfs = where == "ipfs" or (where == "auto" and _size_bytes(image) > _STORAGE_LIMIT_BYTES)
            named = sdk().content_id(Path(image)) if ipfs else digest
            content = sdk().store_content(named, owner=self._wallet.address, ipfs=ipfs, now=time.time())
            kept = await self._signed("STORE", content)
            self._store.change(store=kept, image_digest=digest)
        return kept.item_hash

    async def machine(self, plan: Plan, name: str, image: str, ssh_key: str) -> Sent:
        """The message that makes the machine, signed now and sent later; again the same one for the same machine."""
        record = self._store.record
        if record is not None and record.instance is not None:
            return record.instance
        content = sdk().instance_content(
            plan, owner=self._wallet.address, name=name, image=image, ssh_keys=[ssh_key], now=time.time()
        )
        sent = await self._signed("INSTANCE", content)
        self._store.change(instance=sent)
        return sent

    async def price(self, image: Path | None) -> Decimal:
        """Credits an hour for what is signed and not settled yet, the image too if it is to be uploaded."""
        record = self._store.record
        total = Decimal(0)
        if record is not None and record.instance is not None:
            total += await self._network.estimate(record.instance.envelope, content_of(record.instance))
        if record is not None and record.store is not None and image is not None:
            size = {"estimated_size_mib": max(1, round(_size_bytes(image) / 2**20))}
            total += await self._network.estimate(record.store.envelope, {**content_of(record.store), **size})
        return total

    async def send_image(self, file: Path) -> None:
        """Upload the image, unless the network has it."""
        record = self._store.record
        if record is None or record.store is None or record.store.settled:
            return
        sent = record.store
        ipfs = content_of(sent).get("item_type") == "ipfs"

        async def upload() -> str:
            return await self._network.upload(sent.envelope, file, ipfs=ipfs, settle_s=self._settle_s)

        await self._deliver(sent, upload, "the image")
        self._store.change(store=sent.model_copy(update={"settled": True}))

    async def send_machine(self) -> None:
        """Have the network take the machine: from now on it costs."""
        record = self._store.record
        if record is None or record.instance is None or record.instance.settled:
            return
        sent = record.instance
        await self._deliver(sent, lambda: self._network.post(sent.envelope, self._settle_s), "the machine")
        self._store.change(instance=sent.model_copy(update={"settled": True}))

    async def forget(self, hashes: list[str], reason: str) -> None:
        """Take messages back, so that they cost nothing any more. The same FORGET again, however often."""
        record = self._store.record
        known = record.forget if record is not None else None
        if known is None or sorted(content_of(known)["hashes"]) != sorted(hashes):
            content = sdk().forget_content(hashes, owner=self._wallet.address, reason=reason, now=time.time())
            known = await self._signed("FORGET", content)
            self._store.change(forget=known)
        sent = known
        await self._deliver(sent, lambda: self._network.post(sent.envelope, self._settle_s), "the end of the machine")
        self._store.change(forget=sent.model_copy(update={"settled": True}))

    async def is_there(self, item_hash: str) -> bool:
        """Whether the network has a message and has not forgotten it: it is paid for, or is about to be."""
        known = await self._network.message(item_hash)
        return known is not None and known["status"] not in (*_GONE, "rejected")

    async def _deliver(self, sent: Sent, send: Callable[[], Any], what: str) -> None:
        """Send it unless it is there; comes back when it is processed. CommandError says what to do."""
        try:
            known = await self._network.message(sent.item_hash)
            status = known["status"] if known is not None else None
            if status == "pending":
                status = await self._network.settled(sent.item_hash, self._settle_s)
            elif status not in SETTLED:  # what was refused may be taken now
                status = await send()
        except Refusal as refusal:
            raise CommandError(_explained(what, sent, refusal)) from refusal
        except TimeoutError as error:
            raise CommandError(
                f"the network has not processed {what} within {self._settle_s:g} s (--settle-s): message "
                f"{sent.item_hash} is {error}; run the same command again, nothing is paid twice"
            ) from error
        if status in _GONE:
            raise CommandError(
                f"{what} was forgotten on the network (message {sent.item_hash}); destroy this deployment"
            )

    async def _signed(self, kind: str, content: Mapping[str, Any]) -> Sent:
        envelope = await sdk().sign(self._network.api, self._wallet, kind, content, CHANNEL)
        return Sent(envelope=envelope, signed_at=time.time())


def content_of(sent: Sent) -> dict[str, Any]:
    """What was signed."""
    content: dict[str, Any] = orjson.loads(sent.envelope["item_content"])
    return content


def _explained(what: str, sent: Sent, refusal: Refusal) -> str:
    if refusal.code in (_BALANCE, NO_CREDITS):
        errors = refusal.details.get("errors") if isinstance(refusal.details, dict) else None
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        has = first.get("account_credits", first.get("account_balance", "too few"))
        needs = first.get("required_credits", first.get("required_balance", "more"))
        return (
            f"the network finds too few credits for {what}: there are {_said(has)}, and a day of all that you run "
            f"needs {_said(needs)}; add credits and run it again. Nothing was charged for it"
        )
    if refusal.code == _NO_IMAGE:
        return f"the network does not know the image {content_of(sent).get('rootfs', {}).get('parent')}; see --image"
    if refusal.code == _TOO_SMALL:
        return f"--disk-mib: the disk is smaller than the image ({refusal}); give more, after waypost deploy destroy"
    return f"the network refuses {what} (message {sent.item_hash}): {refusal}"


def _said(amount: object) -> str:
    try:
        return money(Decimal(str(amount)))
    except ArithmeticError:
        return str(amount)


def _type(known: Mapping[str, Any]) -> str | None:
    message = known.get("message")
    return message.get("type") if isinstance(message, dict) else None


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CommandError(f"--image {path}: {error.strerror}") from error


def _size_bytes(path: str | Path) -> int:
    return Path(path).stat().st_size
