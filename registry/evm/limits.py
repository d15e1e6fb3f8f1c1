"""How long a chain's host is waited for, how often it is looked at, and how much is asked of it at once."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NEAR", "Limits", "limits_of"]


@dataclass(frozen=True, slots=True)
class Limits:
    connect_s: float = 5.0
    request_s: float = 20.0  # a whole answer
    poll_s: float = 2.0  # how late `watch` may see a new block, and `publish` that its posting is in one
    reread_s: float = 10.0  # a head that stands still is looked at again: logs may come late, or the block be another
    receipt_s: float = 45.0  # how long a transaction is waited for before it is called pending
    bump_s: float = 60.0  # a transaction that is pending for longer is sent again with a higher fee
    stuck_s: float = 300.0  # one that is pending for longer gives its place to the next one that is posted
    body_bytes: int = 64 * 1024 * 1024  # one answer; a block full of postings is far below it
    # A host that shows no entry for so long, or in so many ranges, is not asked on. 10,000 blocks a range make 10^9.
    empty_s: float = 3600.0
    empty_ranges: int = 100_000


NEAR = Limits(poll_s=0.1, reread_s=1.0)  # a chain on this machine


def limits_of(near: bool) -> Limits:
    return NEAR if near else Limits()
