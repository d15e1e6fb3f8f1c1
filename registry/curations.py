"""The lists of the curators in a policy, and what they say together.

Highest seq per curator; where curators differ, the order of the policy decides. Not here: signatures, adverts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from registry.advert import MAX_AHEAD_S, Envelope, Reason, Refused
from registry.advert import Curation as CurationText
from registry.periods import check_curation

__all__ = ["Curation", "Curations"]


@dataclass(frozen=True, slots=True)
class Curation:
    """What all curators vouch for now: `models` name -> digest, `slugs` slug -> node key or name."""

    models: Mapping[str, str]
    slugs: Mapping[str, str]
    nodes: frozenset[str]
    operators: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Listed:
    """One curator's list, with sets for what is looked up often."""

    curation: CurationText
    envelope: Envelope
    operators: frozenset[str]
    nodes: frozenset[str]

    def names(self, operator: str, node: str) -> bool:
        return operator in self.operators or node in self.nodes


class Curations:
    """Owner of what is known of each curator: its highest list, or the two that equivocate."""

    def __init__(self, curators: tuple[str, ...]) -> None:
        self._curators = curators
        self._known: dict[str, tuple[_Listed, ...]] = {}
        self._merged: tuple[float, Curation, float] | None = None  # from when, what, until when

    def __repr__(self) -> str:
        return f"Curations(known={len(self._known)} of {len(self._curators)})"

    def add(self, curation: CurationText, envelope: Envelope) -> None:
        """Take an authentic list that is not from the future."""
        known = self._known.get(curation.curator, ())
        listed = _Listed(curation, envelope, frozenset(curation.operators), frozenset(curation.nodes))
        if not known or curation.seq > known[0].curation.seq:
            self._known[curation.curator] = (listed,)
        elif curation.seq == known[0].curation.seq and len(known) == 1 and known[0].envelope.text != envelope.text:
            self._known[curation.curator] = (known[0], listed)
        else:
            return  # posted again, or of old: what is merged stays the same object
        self._merged = None

    def check(self, curation: CurationText, envelope: Envelope, now: float) -> None:
        """Raise Refused where this list does not count."""
        if curation.curator not in self._curators:
            raise Refused(Reason.UNTRUSTED_OPERATOR, f"no curator:{curation.curator} in --trust")
        check_curation(curation, now)
        known = self._known.get(curation.curator, ())
        highest = known[0].curation.seq if known else curation.seq
        if curation.seq < highest:
            raise Refused(Reason.STALE, f"seq {curation.seq} is below {highest}, the curator's highest known")
        if curation.seq == highest and any(other.envelope.text != envelope.text for other in known):
            raise Refused(Reason.EQUIVOCATION, f"two lists of this curator have seq {highest}")

    def merged(self, now: float) -> Curation:
        """What the lists in force say together: the same object until that changes."""
        if self._merged is None or not self._merged[0] <= now < self._merged[2]:
            lists = self._current(now)
            self._merged = (now, _merge(lists), self._next_turn(now))
        return self._merged[1]

    def vouched_until(self, operator: str, node: str, now: float) -> int | None:
        """When the last list that names the operator or the node ends; None if none does now."""
        ends = [listed.curation.expires_at for listed in self._current(now) if listed.names(operator, node)]
        return max(ends, default=None)

    def remembers(self, operator: str, node: str) -> bool:
        """Does any known list name them, even one that has ended?"""
        return any(listed.names(operator, node) for known in self._known.values() for listed in known)

    def envelopes(self) -> Iterator[Envelope]:
        """All that a restart needs."""
        for known in self._known.values():
            yield from (listed.envelope for listed in known)

    def _next_turn(self, now: float) -> float:
        """When the next list ends, or comes into force again after a clock was set back."""
        known = [listed.curation for lists in self._known.values() for listed in lists]
        starts = (max(one.issued_at, one.seq / 1000) - MAX_AHEAD_S for one in known)
        return min((at for at in (*starts, *(one.expires_at for one in known)) if at > now), default=inf)

    def _current(self, now: float) -> list[_Listed]:
        """The lists in force, in the order of the policy."""
        known = (self._known.get(curator, ()) for curator in self._curators)
        return [lists[0] for lists in known if len(lists) == 1 and _in_force(lists[0].curation, now)]


def _merge(lists: Sequence[_Listed]) -> Curation:
    """The first decides where they differ."""
    models: dict[str, str] = {}
    slugs: dict[str, str] = {}
    for listed in reversed(lists):
        models.update(listed.curation.models)
        slugs.update(listed.curation.slugs)
    nodes = frozenset[str]().union(*(listed.nodes for listed in lists))
    return Curation(models, slugs, nodes, frozenset[str]().union(*(listed.operators for listed in lists)))


def _in_force(curation: CurationText, now: float) -> bool:
    try:
        check_curation(curation, now)
    except Refused:
        return False
    return True
