"""Whether a node takes a message: signature, permission, what it hangs on. Decides only; the store changes things."""

from __future__ import annotations

from typing import Any, Protocol

from eth_account import Account
from eth_account.messages import encode_defunct

from tests.fakes.aleph_node.message import Code, Envelope, Later, Message, Refused

_NOT_EVM = {"CSDK", "DOT", "ES", "NEO", "NULS", "NULS2", "SOL", "TEZOS"}


class Known(Protocol):
    """What the rules ask of the messages that were processed before."""

    def message(self, item_hash: str) -> Message | None:
        """A processed message."""

    def aggregate(self, owner: str, key: str) -> dict[str, Any] | None:
        """The merged content of an aggregate."""

    def blob(self, item_hash: str) -> bytes | None:
        """A file that is here."""

    def machines_from(self, image: str) -> list[str]:
        """The item hashes of machines whose disk is made from a stored file."""

    def elements(self, owner: str, key: str) -> list[str]:
        """The item hashes of the messages that make up an aggregate."""


def check_signature(envelope: Envelope) -> None:
    """Raises Refused unless the sender signed chain, sender, type and item hash (and nothing else)."""
    signed = f"{envelope.chain.value}\n{envelope.sender}\n{envelope.type.value}\n{envelope.item_hash}"
    if envelope.chain.value in _NOT_EVM:
        raise Refused(Code.INVALID_SIGNATURE, f"this fake does not know the signatures of {envelope.chain.value}")
    try:
        signer = Account.recover_message(encode_defunct(text=signed), signature=envelope.signature)
    except Exception as error:  # eth_account has no common error for a signature that cannot be one
        raise Refused(Code.INVALID_SIGNATURE, f"Invalid signature for {envelope.item_hash}") from error
    if str(signer).lower() != envelope.sender.lower():
        raise Refused(Code.INVALID_SIGNATURE, f"Invalid signature for {envelope.item_hash}")


def check_message(message: Message, known: Known, strict_case: bool) -> None:
    """Raises Later where the message hangs on an unknown one, Refused where its sender may not."""
    _check_targets(message, known)
    if not _authorised(message, known, strict_case):
        raise Refused(
            Code.PERMISSION_DENIED, f"Sender {message.sender} is not authorized to post on behalf of {message.owner}"
        )
    if message.type == "FORGET":
        _check_forgettable(message, known, strict_case)


def check_image(message: Message, known: Known) -> None:
    """A machine's disk is made from a file that was stored before, and holds all of it. Raises Later, Refused."""
    if message.type != "INSTANCE":
        return
    rootfs = message.content["rootfs"]
    stored = known.message(str(rootfs["parent"]["ref"]))
    if stored is None or stored.type != "STORE":
        raise Later(Code.VM_VOLUME_NOT_FOUND, rootfs["parent"]["ref"])
    size = len(known.blob(str(stored.content["item_hash"])) or b"")
    if rootfs["size_mib"] * 2**20 < size:
        raise Refused(Code.VM_VOLUME_TOO_SMALL, {"parent_size": size, "volume_size": rootfs["size_mib"] * 2**20})


def targets(message: Message, known: Known) -> list[str]:
    """The item hashes that a FORGET names, by hash or by aggregate key."""
    hashes = [str(item_hash) for item_hash in message.content["hashes"]]
    for key in message.content.get("aggregates") or []:
        hashes += known.elements(message.owner, key)
    return hashes


def _check_targets(message: Message, known: Known) -> None:
    if message.type == "STORE" and known.blob(str(message.content["item_hash"])) is None:
        raise Later(Code.FILE_UNAVAILABLE, f"Could not retrieve file {message.content['item_hash']} at this time")
    if message.type == "POST" and message.content_type == "amend":
        original = known.message(message.ref or "")
        if original is None:
            raise Later(Code.POST_AMEND_TARGET_NOT_FOUND)
        if original.content_type == "amend":
            raise Refused(Code.POST_AMEND_AMEND)
        if original.owner != message.owner:
            raise Refused(Code.PERMISSION_DENIED, f"Cannot amend post {message.ref}: not the owner's")
    if message.type == "FORGET":
        if not message.content["hashes"] and not message.content.get("aggregates"):
            raise Refused(Code.FORGET_NO_TARGET)
        for item_hash in message.content["hashes"]:
            if known.message(item_hash) is None:
                raise Later(Code.FORGET_TARGET_NOT_FOUND, {"message": item_hash})
        for key in message.content.get("aggregates") or []:
            if not known.elements(message.owner, key):
                raise Later(Code.FORGET_TARGET_NOT_FOUND, {"aggregate": key})


def _authorised(message: Message, known: Known, strict_case: bool) -> bool:
    if _same(message.sender, message.owner, strict_case):
        return True
    if message.type == "POST" and message.content_type == "amend":
        original = known.message(message.ref or "")
        if original is not None:
            return _may_act(message.sender, original.owner, original, known, strict_case)
    return _may_act(message.sender, message.owner, message, known, strict_case)


def _check_forgettable(message: Message, known: Known, strict_case: bool) -> None:
    """The right to forget follows the right to create: it is judged by the target, not by the FORGET."""
    for item_hash in targets(message, known):
        target = known.message(item_hash)
        if target is None:
            continue
        if target.type == "STORE" and known.machines_from(item_hash):
            raise Refused(Code.FORGET_NOT_ALLOWED, {"file": item_hash, "by": "vm"})
        if target.type == "FORGET":
            raise Refused(Code.FORGET_FORGET, {"message": item_hash})
        if target.sender != message.sender and not _may_act(message.sender, target.owner, target, known, strict_case):
            raise Refused(Code.PERMISSION_DENIED, f"Sender {message.sender} is not authorized to forget {item_hash}")


def _may_act(sender: str, owner: str, message: Message, known: Known, strict_case: bool) -> bool:
    """Does the owner's `security` aggregate let the sender make a message like this one?"""
    if _same(sender, owner, strict_case):
        return True
    security = known.aggregate(owner, "security") or {}
    authorizations = security.get("authorizations", [])
    if not isinstance(authorizations, list):
        return False
    return any(_covers(entry, sender, message, strict_case) for entry in authorizations if isinstance(entry, dict))


def _covers(entry: dict[str, Any], sender: str, message: Message, strict_case: bool) -> bool:
    if not _same(str(entry.get("address", "")), sender, strict_case):
        return False
    if entry.get("chain") and entry["chain"] != message.chain:
        return False
    limits = [("channels", message.channel), ("types", message.type)]
    if message.type == "POST":
        limits.append(("post_types", message.content_type))
    if message.type == "AGGREGATE":
        limits.append(("aggregate_keys", message.key))
    return all(not entry.get(name) or value in entry[name] for name, value in limits)


def _same(one: str, other: str, strict_case: bool) -> bool:
    """Nodes compare without regard to case; older ones compared exactly."""
    return one == other if strict_case else one.lower() == other.lower()
