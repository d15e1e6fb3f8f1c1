"""Pure: what nodes have shown of themselves: which models are warm there, and when one was last heard of.

Whether a model is warm an advert says, as much as a minute late, or hours where posting costs money. So what a node has
just shown counts for more, until that is old or the node says something newer. Not here: failures (circuit, rests).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.groups import Candidate
from registry.trust import Believed

_WARM_S = 60.0  # a node's own advert says by then what its answer has shown
_COLD_LEAST_S = 1.0
_COLD_MOST_S = 30.0
_UNHEARD_S = 60.0
_USED_S = 600.0


@dataclass
class _Node:
    """Since it signed the advert of this `seq`. `models`: warm or not, and until when that counts."""

    seq: int
    believed: Believed
    models: dict[str, tuple[bool, float]] = field(default_factory=dict)
    used_at: float = 0.0  # when a request was last answered there, or failed
    probed_at: float = 0.0
    found_well_at: float = 0.0  # by a probe


class Heard:
    """By node key. Whoever keeps it bounds it, by `forget`."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}

    def __repr__(self) -> str:
        return f"<Heard nodes={len(self._nodes)}>"

    def __len__(self) -> int:
        return len(self._nodes)

    def is_warm(self, candidate: Candidate, now: float) -> bool | None:
        """Was the model warm when the node was last asked? None: nothing is known beyond its advert."""
        known = self._nodes.get(candidate.node)
        if known is None or known.seq != candidate.believed.advert.seq:
            return None
        warm, until = known.models.get(candidate.offer.model, (False, 0.0))
        return warm if until > now else None

    def answered(self, candidate: Candidate, now: float) -> None:
        """So the model is warm there."""
        known = self._of(candidate)
        known.models[candidate.offer.model] = (True, now + _WARM_S)
        known.used_at = now

    def refused_cold(self, candidate: Candidate, now: float, retry_after_s: float | None) -> None:
        """It is not, for as long as the node says, within bounds."""
        known = self._of(candidate)
        wait = max(_COLD_LEAST_S, min(retry_after_s or 0.0, _COLD_MOST_S))
        known.models[candidate.offer.model] = (False, now + wait)
        known.used_at = now

    def failed(self, candidate: Candidate, now: float) -> None:
        """It was asked, and there was no answer."""
        self._of(candidate).used_at = now

    def to_probe(self, unreachable: Iterable[str], now: float, most: int) -> list[Believed]:
        """Of these, and of those that are in use and quiet, the longest not probed."""
        due = {node for node in unreachable if node in self._nodes}
        due.update(node for node, known in self._nodes.items() if _is_quiet(known, now))
        chosen = sorted((self._nodes[node] for node in due), key=lambda known: known.probed_at)[:most]
        for known in chosen:
            known.probed_at = now
        return [known.believed for known in chosen]

    def probed(self, node: str, since: float, now: float, *, well: bool) -> bool:
        """A probe that began at `since` is over. Returns whether that is news: requests may have found out more."""
        known = self._nodes.get(node)
        if known is None or known.used_at > since:
            return False
        if well:
            known.found_well_at = now
        return True

    def forget(self, node: str) -> None:
        """That node is gone."""
        self._nodes.pop(node, None)

    def _of(self, candidate: Candidate) -> _Node:
        seq, known = candidate.believed.advert.seq, self._nodes.get(candidate.node)
        if known is None or known.seq != seq:
            known = self._nodes[candidate.node] = _Node(seq, candidate.believed)
        return known


def _is_quiet(known: _Node, now: float) -> bool:
    return known.used_at > now - _USED_S and max(known.used_at, known.found_well_at) <= now - _UNHEARD_S
