"""The envelope: a signed text with its signatures, as it travels on a board. Nothing in it is believed yet.

Not here: opening it (signing), judging it (trust).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from registry.canonical import parse_json
from registry.reasons import Reason, Refused

__all__ = ["MAX_ENVELOPE_BYTES", "Envelope", "Kind"]

MAX_ENVELOPE_BYTES = 262144  # a text of 64 KiB can double when it is escaped, and a delegation's text stands beside it


class Kind(StrEnum):
    ADVERT = "advert"
    REVOCATION = "revocation"
    CURATION = "curation"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One posting. `delegation` is {"text", "signature"}; only adverts have one, and a node signature."""

    kind: Kind
    text: str
    signature: str
    node_signature: str | None = None
    delegation: dict[str, str] | None = field(default=None, hash=False)

    @classmethod
    def parse(cls, raw: str | bytes) -> Envelope:
        """Read a posting's outer JSON, ignoring unknown fields; raises Refused (too large, malformed)."""
        obj = _read(raw)
        kind = _kind(obj)
        text, signature = _text(obj, "text"), _text(obj, "signature")
        if kind is not Kind.ADVERT:
            return cls(kind, text, signature)
        node_signature = None if _field(obj, "node_signature") is None else _text(obj, "node_signature")
        return cls(kind, text, signature, node_signature, _delegation(_field(obj, "delegation")))

    def to_dict(self) -> dict[str, Any]:
        """The fields that this kind of envelope has."""
        fields: dict[str, Any] = {"kind": self.kind.value, "text": self.text, "signature": self.signature}
        if self.kind is Kind.ADVERT:
            fields |= {"node_signature": self.node_signature, "delegation": self.delegation and dict(self.delegation)}
        return fields

    def to_json(self) -> str:
        return orjson.dumps(self.to_dict()).decode()


def _read(raw: str | bytes) -> dict[str, Any]:
    try:
        text = raw if isinstance(raw, str) else _decode(raw)
        return parse_json(text, MAX_ENVELOPE_BYTES)
    except Refused as refused:
        reason = Reason.TOO_LARGE if refused.reason is Reason.TOO_LARGE else Reason.MALFORMED
        raise Refused(reason, f"envelope: {refused.detail}") from refused


def _decode(raw: bytes) -> str:
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise Refused(Reason.TOO_LARGE, f"more than {MAX_ENVELOPE_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(Reason.MALFORMED, "not UTF-8") from error


def _kind(obj: dict[str, Any]) -> Kind:
    try:
        return Kind(_text(obj, "kind"))
    except ValueError as error:
        raise Refused(Reason.MALFORMED, "kind: must be advert, revocation or curation") from error


def _delegation(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Refused(Reason.MALFORMED, 'delegation: must be null or {"text", "signature"}')
    return {"text": _text(value, "text"), "signature": _text(value, "signature")}


def _field(obj: dict[str, Any], name: str) -> Any:
    if name not in obj:
        raise Refused(Reason.MALFORMED, f"envelope: {name} is missing")
    return obj[name]


def _text(obj: dict[str, Any], name: str) -> str:
    value = _field(obj, name)
    if not isinstance(value, str):
        raise Refused(Reason.MALFORMED, f"envelope: {name} must be a string")
    return value
