"""What a judgement says: the verdict on one posting, and the adverts that are believed. Not here: judging (trust)."""

from __future__ import annotations

from dataclasses import dataclass

from registry.advert import Advert, Envelope, Reason

__all__ = ["Believed", "Verdict"]


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


@dataclass(frozen=True, slots=True)
class Believed:
    """An advert that counts now, until `valid_until` (Unix seconds) unless something newer comes.

    `explicit`: the operator is named in the policy, or it or the node by a curator, and not only covered by "any".
    """

    advert: Advert
    envelope: Envelope
    valid_until: float
    explicit: bool
