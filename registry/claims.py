"""What is known of one operator's one node: the best advert of each signer, and a proof of equivocation.

The best of *each* signer is kept, since a revocation may drop one of them and then the next counts again.
Pure values; not here: clocks, policy (trust), bounds over many nodes (ledger).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

from registry.advert import Advert, Delegation, Envelope, Reason, Refused
from registry.signing import Opened

__all__ = ["MAX_SIGNERS", "Claims", "Record"]

MAX_SIGNERS = 8  # delegates remembered for one node; the operator's own wallet comes on top


@dataclass(frozen=True, slots=True)
class Record:
    """An authentic advert that sets a floor. `sound`: it was fully valid when it came, but for other adverts."""

    opened: Opened
    advert: Advert
    sound: bool

    @property
    def envelope(self) -> Envelope:
        return self.opened.envelope

    @property
    def signer(self) -> str:
        return self.opened.signer

    @property
    def delegation(self) -> Delegation | None:
        return self.opened.delegation

    @property
    def seq(self) -> int:
        return self.advert.seq

    @property
    def own(self) -> bool:
        """By the operator's own wallet?"""
        return self.delegation is None

    @property
    def valid_until(self) -> int:
        ends = self.advert.expires_at
        return ends if self.delegation is None else min(ends, self.delegation.expires_at)

    @property
    def size(self) -> int:
        delegation = self.envelope.delegation or {}
        return len(self.envelope.text) + len(delegation.get("text", "")) + 400

    def differs(self, other: Record) -> bool:
        """Do both together prove equivocation?"""
        same_seq = self.seq == other.seq and self.envelope.text != other.envelope.text
        return same_seq and self.sound and other.sound


@dataclass(frozen=True)
class Claims:
    """`best` by signer; `proof` is the latest pair of sound adverts with one seq, kept after it is settled too."""

    best: Mapping[str, Record] = field(default_factory=dict)
    proof: tuple[Record, Record] | None = None

    def adding(self, record: Record) -> Claims:
        """These claims with one more authentic advert; the same object if that says nothing new."""
        proof = self.proof
        if twin := next((known for known in self.records() if known.differs(record)), None):
            proof = self._later_proof((twin, record))
        current = self.best.get(record.signer)
        if current is None or _better(record, current):
            return Claims(_bounded({**self.best, record.signer: record}), proof)
        return self if proof is self.proof else Claims(self.best, proof)

    def held(self, opened: Opened) -> Record | None:
        """The record of this very posting, if it is the best of its signer and was sound."""
        record = self.best.get(opened.signer)
        same = record is not None and (record.opened is opened or record.envelope == opened.envelope)
        return record if same and record is not None and record.sound else None

    def without(self, signers: Set[str]) -> Claims:
        """These claims had `signers` never signed; the same object if they had not."""
        if not any(record.signer in signers for record in self.records()):
            return self
        best = {signer: record for signer, record in self.best.items() if signer not in signers}
        if self.proof and not any(record.signer in signers for record in self.proof):
            return Claims(best, self.proof)
        pairs = [pair for pair in combinations(best.values(), 2) if pair[0].differs(pair[1])]
        return Claims(best, max(pairs, key=lambda pair: pair[0].seq, default=None))

    def winner(self) -> Record | None:
        """The highest authentic advert, None under quarantine. It is the floor, whether it counts now or not."""
        return None if self.quarantined_at() is not None else self._highest()

    def quarantined_at(self) -> int | None:
        """The seq of an equivocation that no later advert by the operator's own wallet has settled."""
        if self.proof is None:
            return None
        seq = self.proof[0].seq
        settled = any(record.own and record.seq > seq for record in self.best.values())
        return None if settled else seq

    def proves(self, record: Record) -> bool:
        return self.proof is not None and any(record.envelope.text == half.envelope.text for half in self.proof)

    def check(self, record: Record) -> None:
        """Raise Refused (stale, equivocation) where what is known here stands against `record`."""
        quarantine = self.quarantined_at()
        if quarantine is not None:
            _check_quarantine(record, quarantine)
        elif (floor := self._highest()) is not None:
            if record.differs(floor):
                raise Refused(Reason.EQUIVOCATION, f"another advert with seq {record.seq} says something else")
            if record.seq < floor.seq:
                raise Refused(Reason.STALE, f"seq {record.seq} is below {floor.seq}, the highest known")

    def records(self) -> Iterator[Record]:
        """All that is held, the proof first: added again in this order, they make the same claims."""
        yield from self.proof or ()
        yield from self.best.values()

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Bytes held, by signer."""
        sizes: dict[str, int] = {}
        for record in self.records():
            sizes[record.signer] = sizes.get(record.signer, 0) + record.size
        return sizes

    @cached_property
    def size(self) -> int:
        """Bytes held."""
        return sum(self.sizes.values())

    def _highest(self) -> Record | None:
        return max(self.best.values(), key=_rank, default=None)

    def _later_proof(self, pair: tuple[Record, Record]) -> tuple[Record, Record]:
        return pair if self.proof is None or pair[0].seq > self.proof[0].seq else self.proof


def _check_quarantine(record: Record, seq: int) -> None:
    if record.seq < seq:
        raise Refused(Reason.STALE, f"seq {record.seq} is below {seq}, the highest known")
    if record.seq == seq or not record.own:
        raise Refused(
            Reason.EQUIVOCATION,
            f"two adverts have seq {seq}; the node counts again after a higher one by the operator's own wallet",
        )


def _rank(record: Record) -> tuple[int, bool, bool, int]:
    return (record.seq, record.sound, record.own, record.valid_until)


def _better(record: Record, current: Record) -> bool:
    """Is `record` to be kept in place of one by the same signer?"""
    if record.seq == current.seq and record.envelope.text != current.envelope.text:
        return record.sound and not current.sound
    return _rank(record) > _rank(current)


def _bounded(best: dict[str, Record]) -> dict[str, Record]:
    delegates = [record for record in best.values() if not record.own]
    if len(delegates) > MAX_SIGNERS:
        del best[min(delegates, key=_rank).signer]
    return best
