"""What a model name can mean: candidates, grouped by the weights that they claim.

A digest is a claim, not a proof, and a null digest is worth its operator's word alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.challenge import Identity, identity
from registry.advert import Offer
from registry.trust import Believed

_DIGEST_SHOWN = 12
_CHOICES_SHOWN = 100

Digests = Mapping[str, Sequence[str]]  # model -> the digests that are claimed for it, sorted


@dataclass(frozen=True)
class Candidate:
    """One node that offers one model."""

    believed: Believed
    offer: Offer

    @property
    def node(self) -> str:
        return self.believed.advert.node

    @property
    def operator(self) -> str:
        return self.believed.advert.operator

    @property
    def url(self) -> str:
        return self.believed.advert.url

    @property
    def identity(self) -> Identity:
        return identity(self.believed.advert)


@dataclass
class Group:
    """Offers that are one model: same name and same weights. Without a digest, those of one operator."""

    model: str
    digest: str | None
    operator: str | None
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def explicit(self) -> bool:
        return any(candidate.believed.explicit for candidate in self.candidates)

    @property
    def aliases(self) -> frozenset[str]:
        return frozenset(alias for candidate in self.candidates for alias in candidate.offer.aliases)

    @property
    def qualifiers(self) -> frozenset[str]:
        """All that may stand behind the @ of this group's names, digests in full."""
        operators = {candidate.operator for candidate in self.candidates}
        return frozenset({*operators, self.digest} if self.digest else operators)

    def matches(self, qualifier: str) -> bool:
        if qualifier.startswith("0x"):
            return any(candidate.operator == qualifier for candidate in self.candidates)
        return self.digest is not None and self.digest.startswith(qualifier)


def choices(groups: Sequence[Group], digests: Digests) -> str:
    """What to say to whoever must choose among `groups`."""
    labels = [label(group, digests) for group in groups[:_CHOICES_SHOWN]]
    more = f" and {len(groups) - _CHOICES_SHOWN} more" if len(groups) > _CHOICES_SHOWN else ""
    return f"Choose one of: {', '.join(labels)}{more}."


def label(group: Group, digests: Digests) -> str:
    """A short `model@digest` that means this group and no other of its model, or `model@0xoperator`."""
    if group.digest is None:
        return f"{group.model}@{group.operator}"
    among = digests[group.model]
    at = bisect_left(among, group.digest)
    beside = [digest for digest in among[max(at - 1, 0) : at + 2] if digest != group.digest]
    shared = max((_shared(group.digest, digest) for digest in beside), default=0)
    return f"{group.model}@{group.digest[: max(_DIGEST_SHOWN, shared + 4)]}"


def _shared(one: str, other: str) -> int:
    """How many characters two different digests have in common at their start."""
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=True)) if left != right)
