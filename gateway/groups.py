"""What a model name can mean: candidates, grouped by the weights that they claim.

A digest is a claim, not a proof, and a null digest is worth its operator's word alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from gateway.challenge import Identity, identity
from gateway.pool import Pool
from registry.advert import Offer
from registry.trust import Believed

_DIGEST_SHOWN = 12
_FEW = 16
_CHOICES_SHOWN = 100

Digests = Mapping[str, Sequence[str]]  # model -> the digests that are claimed for it, sorted
Spot = tuple[str, str, int]  # operator, node, and which of the advert's offers


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


class _Kind:
    """Candidates of one kind, by whether they say that they have the model warm."""

    def __init__(self) -> None:
        self._warm: Pool[Spot, Candidate] = Pool()
        self._cold: Pool[Spot, Candidate] = Pool()

    def __len__(self) -> int:
        return len(self._warm) + len(self._cold)

    def __iter__(self) -> Iterator[Candidate]:
        return chain(self._warm, self._cold)

    def __contains__(self, spot: Spot) -> bool:
        return spot in self._warm or spot in self._cold

    def add(self, spot: Spot, candidate: Candidate) -> None:
        (self._warm if candidate.offer.warm else self._cold).add(spot, candidate)

    def remove(self, spot: Spot) -> Candidate:
        return (self._warm if spot in self._warm else self._cold).remove(spot)

    def draw(self) -> Iterator[Candidate]:
        pairs = zip_longest(self._warm.draw(), self._cold.draw())
        return (candidate for pair in pairs for candidate in pair if candidate is not None)


class Group:
    """Offers that are one model: same name and same weights. Without a digest, those of one operator."""

    def __init__(self, model: str, digest: str | None, operator: str | None) -> None:
        self.model = model
        self.digest = digest
        self.operator = operator
        self._named, self._strangers = _Kind(), _Kind()
        self._few: tuple[Candidate, ...] | None = None  # all, where they are few; None: not looked at yet
        self._operators: Counter[str] = Counter()
        self._aliases: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Group {self.model}@{self.digest or self.operator} candidates={len(self)}>"

    def __len__(self) -> int:
        return len(self._named) + len(self._strangers)

    @property
    def candidates(self) -> Iterable[Candidate]:
        return chain(self._named, self._strangers)

    @property
    def explicit(self) -> bool:
        return len(self._named) > 0

    @property
    def aliases(self) -> Iterable[str]:
        return self._aliases.keys()

    def add(self, spot: Spot, candidate: Candidate) -> list[str]:
        """Take a candidate; returns the aliases that are new to the group."""
        (self._named if candidate.believed.explicit else self._strangers).add(spot, candidate)
        self._few = None
        self._operators[candidate.operator] += 1
        own = set(candidate.offer.aliases)
        new = [alias for alias in own if alias not in self._aliases]
        self._aliases.update(own)
        return new

    def remove(self, spot: Spot) -> list[str]:
        """Drop a candidate; returns the aliases that nobody here goes by any longer."""
        candidate = (self._named if spot in self._named else self._strangers).remove(spot)
        self._few = None
        _take_away(self._operators, [candidate.operator])
        return _take_away(self._aliases, set(candidate.offer.aliases))

    def draw(self) -> Iterator[Candidate]:
        """Each once, in random order, those of operators that were named first; in turn one that has the model warm
        and one that has not, so that a few have of both. It costs what is taken of it. Few are not drawn: whoever asks
        takes them all."""
        if self._few is None:
            self._few = (*self._named, *self._strangers) if len(self) <= _FEW else ()
        if self._few:
            return iter(self._few)
        return chain(self._named.draw(), self._strangers.draw())

    def matches(self, qualifier: str) -> bool:
        if qualifier.startswith("0x"):
            return self._operators[qualifier] > 0
        return self.digest is not None and self.digest.startswith(qualifier)


def current(candidates: Iterable[Candidate], operator: str | None, now: float) -> Iterator[Candidate]:
    """Those that have not expired, of one operator if one is named."""
    for candidate in candidates:
        if candidate.believed.valid_until > now and operator in (None, candidate.operator):
            yield candidate


def fits(candidate: Candidate, qualifier: str) -> bool:
    """Does what stands behind the @ mean this candidate?"""
    if qualifier.startswith("0x"):
        return candidate.operator == qualifier
    return (candidate.offer.weights_sha256 or "").startswith(qualifier)


def names_of(believed: Believed) -> Iterator[str]:
    """Every name that an advert gives meaning to: its node, its models and aliases, and all of them with an @."""
    yield believed.advert.node
    for offer in believed.advert.offers:
        for name in (offer.model, *dict.fromkeys(offer.aliases)):
            yield name
            yield f"{name}@{believed.advert.operator}"
            if offer.weights_sha256:
                yield f"{name}@{offer.weights_sha256}"


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


def _take_away(counts: Counter[str], names: Iterable[str]) -> list[str]:
    """One less of each; returns those of which none are left."""
    counts.subtract(names)
    gone = [name for name in names if counts[name] <= 0]
    for name in gone:
        del counts[name]
    return gone


def _shared(one: str, other: str) -> int:
    """How many characters two different digests have in common at their start."""
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=True)) if left != right)
