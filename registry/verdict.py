"""What a judgement says: the verdict on one posting, and the adverts that are believed. Not here: judging (trust)."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.advert import Advert, Envelope, Reason

__all__ = ["Believed", "Change", "Key", "Verdict"]

Key = tuple[str, str]  # operator and node


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one posting. Who and which are told of authentic ones alone; of a curation, `operator` is the curator.

    `kind` is "advert", "revocation", "curation", or "" if the posting is no envelope at all.
    """

    kind: str
    operator: str | None
    node: str | None
    seq: int | None
    accepted: bool
    reason: Reason | None
    detail: str
    expires_at: int | None = field(default=None, compare=False)  # of adverts and lists


@dataclass(frozen=True, slots=True)
class Believed:
    """An advert that counts now, until `valid_until` (Unix seconds) unless something newer comes.

    `explicit`: the operator is named in the policy, or it or the node by a curator, and not only covered by "any".
    """

    advert: Advert
    envelope: Envelope
    valid_until: float
    explicit: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What is believed of one node of one operator by now: an advert, or nothing."""

    key: Key
    believed: Believed | None
