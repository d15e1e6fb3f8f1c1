"""The adverts of an operator's nodes that are on the network, and which of them a newer one makes needless. Pure.

Unverified as adverts: tidying proves nothing, and loses nothing that counts. Not here: forgetting them (writer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from registry.advert import Delegation, Envelope, Refused
from registry.posted import read_advert

__all__ = ["FORGET_BATCH", "Claim", "Own", "read_claim"]

FORGET_BATCH = 100  # hashes in one message


class Claim(NamedTuple):
    """What a posted text says: an advert for this node. `delegate` is who may sign it, if not the operator."""

    operator: str
    node: str
    seq: int
    delegate: str | None


class _Posted(NamedTuple):
    item_hash: str
    address: str
    seq: int


class Own:
    """Postings by node. `address` is in whose name each was posted."""

    def __init__(self) -> None:
        self._posted: dict[tuple[str, str], dict[str, _Posted]] = {}
        self.searched: set[str] = set()  # operators whose older postings were looked up

    def __repr__(self) -> str:
        return f"Own(nodes={len(self._posted)}, postings={sum(map(len, self._posted.values()))})"

    def add(self, claim: Claim, item_hash: str, address: str) -> None:
        """Remember the posting of an advert."""
        posted = _Posted(item_hash, address, claim.seq)
        self._posted.setdefault((claim.operator, claim.node), {})[item_hash] = posted

    def older(self, operator: str, node: str, below_seq: int) -> Iterator[tuple[str, list[str]]]:
        """Item hashes to forget, by the address that each was posted under, some at a time."""
        by_address: dict[str, list[str]] = {}
        for posted in self._posted.get((operator, node), {}).values():
            if posted.seq < below_seq:
                by_address.setdefault(posted.address, []).append(posted.item_hash)
        for address, hashes in by_address.items():
            for start in range(0, len(hashes), FORGET_BATCH):
                yield address, hashes[start : start + FORGET_BATCH]

    def drop(self, operator: str, node: str, hashes: Iterable[str]) -> None:
        posted = self._posted.get((operator, node), {})
        for item_hash in hashes:
            posted.pop(item_hash, None)


def read_claim(text: str) -> Claim | None:
    """Leniently: None for whatever is no advert."""
    if (read := read_advert(text)) is None:
        return None
    envelope, advert = read
    return Claim(advert.operator, advert.node, advert.seq, _delegate(envelope, advert.operator))


def _delegate(envelope: Envelope, operator: str) -> str | None:
    if envelope.delegation is None:
        return None
    try:
        delegation = Delegation.read(envelope.delegation["text"])
    except Refused:
        return None
    return delegation.delegate if delegation.operator == operator else None
