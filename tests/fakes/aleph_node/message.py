"""What a message is, and whether it is well formed. Not here: whether a node may take it (rules.py)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from aleph_message.models import (
    AggregateContent,
    BaseContent,
    Chain,
    ForgetContent,
    InstanceContent,
    ItemType,
    MessageType,
    PostContent,
    ProgramContent,
    StoreContent,
    VerifiableProgramContent,
)
from pydantic import BaseModel, Field, ValidationError

MAX_INLINE_CHARS = 200_000
_CONTENTS: dict[str, type[BaseContent]] = {
    "POST": PostContent,
    "AGGREGATE": AggregateContent,
    "FORGET": ForgetContent,
    "STORE": StoreContent,
    "PROGRAM": ProgramContent,
    "INSTANCE": InstanceContent,
    "V-PROGRAM": VerifiableProgramContent,
}


class Code(IntEnum):
    """pyaleph's error codes, as far as they can come up here."""

    INVALID_FORMAT = 0
    INVALID_SIGNATURE = 1
    PERMISSION_DENIED = 2
    CONTENT_UNAVAILABLE = 3
    FILE_UNAVAILABLE = 4
    CREDIT_INSUFFICIENT = 6
    POST_AMEND_NO_TARGET = 100
    POST_AMEND_TARGET_NOT_FOUND = 101
    POST_AMEND_AMEND = 102
    VM_VOLUME_NOT_FOUND = 301
    VM_VOLUME_TOO_SMALL = 304
    FORGET_NO_TARGET = 500
    FORGET_TARGET_NOT_FOUND = 501
    FORGET_FORGET = 502
    FORGET_NOT_ALLOWED = 503
    FORGOTTEN_DUPLICATE = 504


class Malformed(Exception):
    """Not a message at all: a node neither keeps nor passes it on."""


class Refused(Exception):
    """A message that breaks a rule: rejected for good."""

    def __init__(self, code: Code, *errors: Any) -> None:
        super().__init__(code.name, *errors)
        self.code = code
        self.details = {"errors": list(errors)} if errors else None


class Later(Refused):
    """A message that hangs on another one that is not here yet: pending."""


class Envelope(BaseModel):
    """The outside of a message; `time` and `channel` are covered by no signature."""

    sender: str
    chain: Chain
    signature: str
    type: MessageType
    item_type: ItemType
    item_hash: str
    item_content: str | None = None
    time: float
    channel: str | None = Field(default=None, max_length=128)


@dataclass(frozen=True, slots=True)
class Message:
    """A well formed message with the content that its hash names."""

    item_hash: str
    type: str
    chain: str
    sender: str
    signature: str
    item_type: str
    item_content: str | None
    content: dict[str, Any]
    time: float
    channel: str | None
    size: int

    @property
    def owner(self) -> str:
        return str(self.content["address"])

    @property
    def content_type(self) -> str | None:
        kind = self.content.get("type")
        return kind if isinstance(kind, str) else None

    @property
    def key(self) -> str | None:
        key = self.content.get("key")
        return str(key["name"] if isinstance(key, dict) else key) if self.type == "AGGREGATE" else None

    @property
    def ref(self) -> str | None:
        ref = self.content.get("ref")
        return str(ref["item_hash"] if isinstance(ref, dict) else ref) if ref else None


def read_envelope(raw: object) -> Envelope:
    """The outside of what somebody sent; raises Malformed."""
    if isinstance(raw, dict) and isinstance(raw.get("item_content"), str) and "\\u0000" in raw["item_content"]:
        raise Malformed("item_content: \\u0000 is not supported")
    try:
        envelope = Envelope.model_validate(raw)
    except ValidationError as error:
        raise Malformed(str(error)) from error
    if envelope.item_type is not ItemType.inline:
        if envelope.item_content is not None:
            raise Malformed(f"{envelope.item_type.value} messages cannot define item_content")
        return envelope
    if envelope.item_content is None:
        raise Malformed("item_content: missing")
    if len(envelope.item_content) > MAX_INLINE_CHARS:
        raise Malformed("item_content: message too long")
    if hashlib.sha256(envelope.item_content.encode()).hexdigest() != envelope.item_hash:
        raise Malformed("item_hash is not sha256(item_content)")
    read_content(envelope, envelope.item_content)
    return envelope


def read_content(envelope: Envelope, text: str) -> dict[str, Any]:
    """The content, with what the envelope fills in; raises Malformed."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Malformed(f"item_content: {error}") from error
    if not isinstance(content, dict):
        raise Malformed("item_content: not an object")
    if content.get("address") is None:
        content["address"] = envelope.sender
    if content.get("time") is None:
        content["time"] = envelope.time
    try:
        _CONTENTS[envelope.type.value].model_validate(content)
    except ValidationError as error:
        raise Malformed(str(error)) from error
    return content


def complete(envelope: Envelope, stored: Callable[[str], str | None]) -> Message:
    """The whole message; a content that is not inline comes from `stored`. Raises Later or Refused."""
    text = envelope.item_content if envelope.item_content is not None else stored(envelope.item_hash)
    if text is None:
        raise Later(Code.CONTENT_UNAVAILABLE, f"File not found: {envelope.item_hash}")
    try:
        content = read_content(envelope, text)
    except Malformed as error:
        raise Refused(Code.INVALID_FORMAT, str(error)) from error
    return Message(
        item_hash=envelope.item_hash,
        type=envelope.type.value,
        chain=envelope.chain.value,
        sender=envelope.sender,
        signature=envelope.signature,
        item_type=envelope.item_type.value,
        item_content=envelope.item_content,
        content=content,
        time=envelope.time,
        channel=envelope.channel,
        size=len(text.encode()),
    )


def typed_content(message: dict[str, Any]) -> dict[str, Any]:
    """The content as a node's models write it (absent options as null), which is what sockets and single reads show."""
    return _CONTENTS[message["type"]].model_validate(message["content"]).model_dump(mode="json")
