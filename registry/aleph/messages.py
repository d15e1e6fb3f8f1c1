"""One message as a node shows it -> what its sender signed, or a refusal. Pure.

A node may show any `content`, `time` and `channel` beside an honest signature, so nothing but `item_content` is read.
Not here: what a posting means (trust), how messages are fetched (reader).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from registry.keys import CURVE_ORDER, keccak256, recover_message
from registry.reasons import Refused

__all__ = [
    "MAX_CONTENT",
    "POST_TYPE",
    "Forged",
    "Message",
    "checksum",
    "claimed_key",
    "item_content",
    "item_hash",
    "posting",
    "posting_content",
    "signed_text",
    "verify",
]

POST_TYPE = "waypost"
MAX_CONTENT = 200_000  # characters of item_content that a node takes

_HASH = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"(?:0[xX])?([0-9a-fA-F]{130})")
_CHAIN = "ETH"
_SIGNED = ("chain", "sender", "type", "item_hash", "signature")
_ZERO = "\\u0000"
_UNFIT = re.compile("[\\x00\\ud800-\\udfff]")  # what a node's database cannot hold in a JSON text


class Forged(Exception):
    """Nobody can have sent this message so: the host made it up, changed it, or damaged it."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a sender signed. `sender` and `address` (in whose name) are lower case; `content` is None if not inline.

    Two messages with equal `key` say the same.
    """

    kind: str
    sender: str
    item_hash: str
    content: Mapping[str, Any] | None
    key: bytes

    @property
    def address(self) -> str | None:
        address = (self.content or {}).get("address")
        return address.lower() if isinstance(address, str) else None


def verify(raw: Any) -> Message | None:
    """The message in a node's JSON; None if it is of a chain whose signatures are not read here. Raises Forged."""
    if not isinstance(raw, dict):
        raise Forged("not a message")
    chain, sender, kind, item_hash, signature = (_field(raw, name) for name in _SIGNED)
    if chain != _CHAIN:
        return None
    content = _content(raw, item_hash) if raw.get("item_type") == "inline" else None
    try:
        signer = recover_message(signed_text(chain, sender, kind, item_hash), _one_form(signature))
    except (Refused, UnicodeEncodeError) as error:
        raise Forged(f"signature: {error}") from error
    if signer != sender.lower():
        raise Forged(f"signed by {signer}, not by its sender")
    return Message(kind, signer, item_hash, content, _key(raw))


def signed_text(chain: str, sender: str, kind: str, item_hash: str) -> bytes:
    """What a message's signature is over."""
    return f"{chain}\n{sender}\n{kind}\n{item_hash}".encode()


def item_content(content: Mapping[str, Any]) -> str:
    """As the SDK writes it."""
    return json.dumps(content, separators=(",", ":"))


def item_hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(item_content(content).encode()).hexdigest()


def claimed_key(raw: Any) -> bytes | None:
    """The `key` that a message would have, were it honest: what is known by it need not be verified again."""
    return _key(raw) if isinstance(raw, dict) else None


def posting(message: Message) -> str | None:
    """The text that was posted with a message; None if it is no posting of ours."""
    content = message.content
    if message.kind != "POST" or content is None or content.get("type") != POST_TYPE or message.address is None:
        return None
    if content.get("content") is None:
        return None
    try:
        return _text(content["content"])
    except orjson.JSONEncodeError:  # nested too deep
        return None


def posting_content(text: str) -> dict[str, Any]:
    """What to post so that `posting` gives exactly `text`: the envelope itself where that can be, else a wrapping."""
    try:
        value = orjson.loads(text)
        if isinstance(value, dict) and _storable(value, text) and _text(value) == text:
            return value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    encoded = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    if _UNFIT.search(text) or _ZERO in text or len(json.dumps(text)) > len(encoded) + 2:
        return {"base64": encoded}
    return {"raw": text}


def checksum(address: str) -> str:
    """The address in mixed case (EIP-55): nodes compare addresses letter by letter."""
    digits = address.lower().removeprefix("0x")
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(d.upper() if int(m, 16) > 7 else d for d, m in zip(digits, marks, strict=False))


def _field(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str):
        raise Forged(f"{name} is missing")
    return value


def _key(raw: Mapping[str, Any]) -> bytes:
    """Takes in whether the content is inline, which is not signed: a host could hide a message behind its own shell."""
    parts = (raw.get("type"), raw.get("item_hash"), raw.get("item_type") == "inline")
    return hashlib.blake2b(repr(parts).encode("utf-8", "replace"), digest_size=16).digest()


def _content(raw: Mapping[str, Any], item_hash: str) -> Mapping[str, Any] | None:
    text = raw.get("item_content")
    if not isinstance(text, str):
        raise Forged("an inline message without its content")
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise Forged("item_content is not UTF-8") from error
    if not _HASH.fullmatch(item_hash) or hashlib.sha256(encoded).hexdigest() != item_hash:
        raise Forged("item_hash is not that of item_content")
    try:
        content = orjson.loads(encoded)
    except orjson.JSONDecodeError:
        return None  # its sender's fault, not the host's
    return content if isinstance(content, dict) else None


def _one_form(signature: str) -> str:
    """Wallets write a signature in several ways, and nodes take them all: without 0x, v from 0, s in the upper half."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        return signature  # refused with the reason
    r, s, v = match[1][:64], int(match[1][64:128], 16), int(match[1][128:], 16)
    odd = (v - 35) % 2 if v >= 35 else v - 27 if v >= 27 else v
    if CURVE_ORDER // 2 < s < CURVE_ORDER:
        s, odd = CURVE_ORDER - s, odd ^ 1
    return f"0x{r}{s:064x}{odd + 27 & 255:02x}".lower()


def _storable(value: Mapping[str, Any], text: str) -> bool:
    """Does a node take the object as it is? It gives a field `tags` a meaning, and cannot hold the character 0."""
    return "tags" not in value and _ZERO not in text


def _text(value: Any) -> str:
    """The text that a posting's content stands for."""
    if isinstance(value, dict) and len(value) == 1:
        raw, encoded = value.get("raw"), value.get("base64")
        if isinstance(raw, str):
            return raw
        if isinstance(encoded, str):
            try:
                return base64.b64decode(encoded, validate=True).decode("utf-8", "surrogatepass")
            except (binascii.Error, UnicodeError):
                pass
    return orjson.dumps(value).decode()
