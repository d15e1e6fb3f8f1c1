"""The four signed texts: advert, delegation, revocation, curation. Frozen, strict; unknown fields are kept.

A text becomes an object in one way only, `signing.open_signed`; an object made in Python is there to be signed.
Re-exported from here for callers: the canonical text, the envelope and the reasons of a refusal.
Not here: signatures (signing), clocks and what is believed (trust).
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.canonical import MAX_TEXT_BYTES, canonical, parse_canonical
from registry.envelope import MAX_ENVELOPE_BYTES, Envelope, Kind
from registry.fields import (
    Address,
    Amount,
    Digest,
    Endpoint,
    Label,
    Many,
    ModelName,
    NodeKeyText,
    Slug,
    SlugTarget,
    Suffix,
    Time,
    Url,
)
from registry.reasons import Reason, Refused

__all__ = [
    "MAX_AHEAD_S",
    "MAX_CURATION_S",
    "MAX_DELEGATION_S",
    "MAX_ENVELOPE_BYTES",
    "MAX_LIFETIME_S",
    "MAX_TEXT_BYTES",
    "Advert",
    "Curation",
    "Delegation",
    "Envelope",
    "Hardware",
    "Kind",
    "Offer",
    "Price",
    "Reason",
    "Refused",
    "Revocation",
    "Vm",
    "canonical",
    "parse_canonical",
]

VERSION = 1
MAX_LIFETIME_S = 86_400
MAX_AHEAD_S = 120
MAX_DELEGATION_S = 30 * 86_400
MAX_CURATION_S = 30 * 86_400


class _Text(BaseModel):
    """A signed text, or a part of one."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")


class _Signed(_Text):
    """A whole signed text."""

    v: Annotated[int, Field(ge=VERSION, le=VERSION)] = VERSION

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse a canonical text; raises Refused. Proves nothing: only `signing` calls it, with a signature at hand."""
        _check_version(parse_canonical(text))
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise Refused(Reason.MALFORMED, _first_fault(error)) from error

    def to_text(self) -> str:
        """The canonical text to sign; ValueError if it is too large or holds what no canonical text can."""
        return canonical(self.model_dump())


class Price(_Text):
    unit: Label
    amount: Amount


class Vm(_Text):
    """Where the node runs; `item_hash` is the VM's message on Aleph."""

    platform: Label
    item_hash: Label | None = None


class Hardware(_Text):
    gpu: Label | None = None
    vram_mib: Time | None = None


class Offer(_Text):
    """One model that a node serves. `context_length` is in tokens per request, null where there is no such thing.

    A further field, `queue`, may say how many requests may wait there beyond `parallel`.
    """

    model: ModelName
    aliases: Many[ModelName]
    endpoints: Many[Endpoint]
    weights_sha256: Digest | None
    template_sha256: Digest | None
    quantization: Label | None
    context_length: Annotated[int, Field(ge=1)] | None
    parallel: Annotated[int, Field(ge=1)]
    modalities: Many[Label]
    engine: Label
    resume: bool
    warm: bool
    prices: Many[Price]

    @property
    def queue_size(self) -> int | None:
        """What `queue` says; None where it says nothing that can be read."""
        said = (self.model_extra or {}).get("queue")
        return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None


class Advert(_Signed):
    """This key, at this URL, with this TLS key, serves these models. Without offers it is a tombstone."""

    operator: Address
    node: NodeKeyText
    seq: Time
    issued_at: Time
    expires_at: Time
    url: Url
    tls_spki_sha256: Digest | None
    offers: Many[Offer]
    vm: Vm | None = None
    hardware: Hardware | None = None
    region: Label | None = None

    @property
    def is_tombstone(self) -> bool:
        return not self.offers

    def to_text(self) -> str:
        """The canonical text to sign; what may be left out and is not known is left out."""
        fields = self.model_dump()
        for name in ("vm", "hardware"):
            if fields[name] is not None:
                fields[name] = _without_nulls(fields[name])
        for name in ("vm", "hardware", "region"):
            if fields[name] is None:
                del fields[name]
        return canonical(fields)


class Delegation(_Signed):
    """`delegate` may sign adverts for `operator`: of one node or all, under some host suffixes or any."""

    operator: Address
    delegate: Address
    node: NodeKeyText | None
    issued_at: Time
    expires_at: Time
    url_suffixes: Many[Suffix] | None


class Revocation(_Signed):
    """These delegates may sign no more, and what they signed is void."""

    operator: Address
    seq: Time
    delegates: Many[Address]


class Curation(_Signed):
    """What a curator vouches for: operators, nodes, the digest behind a model's name, short names of nodes."""

    curator: Address
    seq: Time
    issued_at: Time
    expires_at: Time
    operators: Many[Address]
    nodes: Many[NodeKeyText]
    models: dict[ModelName, Digest]
    slugs: dict[Slug, SlugTarget]


def _check_version(obj: dict[str, Any]) -> None:
    version = obj.get("v")
    if isinstance(version, bool) or not isinstance(version, int):
        raise Refused(Reason.MALFORMED, "v: must be an integer")
    if version != VERSION:
        raise Refused(Reason.VERSION, f"v is {version}; this reader knows {VERSION}")


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
