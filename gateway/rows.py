"""Postings and what became of them, as people read them. Strangers wrote them: nothing in them may steer a terminal.

Not here: reading and judging (inspect).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from registry.advert import Advert, Curation, Delegation, Envelope, Kind, Offer, Refused, Revocation

__all__ = ["Row", "descriptions", "table"]


@dataclass(frozen=True)
class Row:
    """One posting and what became of it. `reason` is one of the protocol's names, or None.

    Who and which are what a refused posting *claims*: signatures may be what it was refused for.
    """

    envelope: Any  # the posted JSON object, or the raw text where it is none
    operator: str | None
    node: str | None
    seq: int | None
    accepted: bool
    reason: str | None
    kind: str | None
    detail: str


_READERS: Mapping[Kind, type[Advert | Revocation | Curation]] = {
    Kind.ADVERT: Advert,
    Kind.REVOCATION: Revocation,
    Kind.CURATION: Curation,
}


def table(rows: Sequence[Row]) -> Iterable[str]:
    """One line each."""
    yield f"{'KIND':<10} {'OPERATOR':<42} {'NODE':<43} {'SIGNED (UTC)':<19} VERDICT"
    for row in rows:
        verdict = "accepted" if row.accepted else f"refused: {row.reason}"
        detail = f" ({row.detail})" if row.detail else ""
        who = f"{row.kind or '-':<10} {_cut(row.operator, 42)} {_cut(row.node, 43)}"
        yield f"{who} {_moment(row.seq):<19} {verdict}{_printable(detail)}"
    yield _sum(rows)


def descriptions(rows: Sequence[Row]) -> Iterator[str]:
    """What each says, whole, the newest last."""
    for row in rows:
        yield f"{row.kind or 'posting'} of {_printable(row.node or row.operator or 'nobody')}"
        yield "  " + ("accepted" if row.accepted else _printable(f"refused: {row.reason} ({row.detail})"))
        for name, value in _fields(row):
            yield f"  {name:<11} {_printable(value)}"
        yield ""
    yield _sum(rows)


def _fields(row: Row) -> Iterator[tuple[str, str]]:
    """What can be read of a posting; only of an accepted one it is known to be true."""
    try:
        envelope = Envelope.parse(orjson.dumps(row.envelope))
        said = _READERS[envelope.kind].read(envelope.text)
    except (Refused, orjson.JSONEncodeError):
        return
    yield "operator" if not isinstance(said, Curation) else "curator", row.operator or "-"
    ends = "" if isinstance(said, Revocation) else f", until {_moment(said.expires_at * 1000)}"
    yield "signed", f"{_moment(said.seq)} UTC{ends} (seq {said.seq})"
    if isinstance(said, Advert):
        yield from _advert(envelope, said)
    elif isinstance(said, Revocation):
        yield from (("revokes", delegate) for delegate in said.delegates)
    else:
        yield from _curation(said)


def _advert(envelope: Envelope, advert: Advert) -> Iterator[tuple[str, str]]:
    if envelope.delegation is not None:
        yield "by delegate", _delegation(envelope.delegation["text"])
    yield "url", advert.url + (f" (TLS key {advert.tls_spki_sha256[:16]}...)" if advert.tls_spki_sha256 else "")
    if advert.vm is not None:
        yield "vm", f"{advert.vm.platform} {advert.vm.item_hash or ''}"
    if advert.hardware is not None and advert.hardware.gpu:
        yield "gpu", f"{advert.hardware.gpu}, {advert.hardware.vram_mib or '?'} MiB"
    if advert.region:
        yield "region", advert.region
    for offer in advert.offers:
        yield "model", _offer(offer)
    if advert.is_tombstone:
        yield "models", "none: this node is retired"


def _delegation(text: str) -> str:
    try:
        delegation = Delegation.read(text)
    except Refused:
        return "an unreadable delegation"
    return f"{delegation.delegate}, until {_moment(delegation.expires_at * 1000)}"


def _offer(offer: Offer) -> str:
    names = f"{offer.model} ({', '.join(offer.aliases)})" if offer.aliases else offer.model
    parts = [", ".join(offer.endpoints), offer.quantization, offer.context_length and f"{offer.context_length} tokens"]
    parts += [f"{offer.parallel} at once", "warm" if offer.warm else "cold"]
    parts += [offer.weights_sha256 and f"weights {offer.weights_sha256[:16]}..."]
    parts += [f"{price.amount} {price.unit}" for price in offer.prices]
    return f"{names}: " + "; ".join(str(part) for part in parts if part)


def _curation(curation: Curation) -> Iterator[tuple[str, str]]:
    yield from (("vouches for", each) for each in (*curation.operators, *curation.nodes))
    yield from (("model", f"{name} = {digest}") for name, digest in curation.models.items())
    yield from (("slug", f"{slug} = {target}") for slug, target in curation.slugs.items())


def _sum(rows: Sequence[Row]) -> str:
    accepted = sum(row.accepted for row in rows)
    return f"{accepted} accepted, {len(rows) - accepted} refused"


def _cut(text: str | None, width: int) -> str:
    return _printable(text or "-")[:width].ljust(width)


def _printable(text: str) -> str:
    """Strangers wrote this: nothing in it may steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _moment(seq: int | None) -> str:
    if seq is None or not 0 <= seq < 253_402_300_800_000:
        return "-"
    return datetime.fromtimestamp(seq / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
