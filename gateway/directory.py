"""Pure: verified adverts -> which nodes a model name means, after the protocol's rules on names.

One change costs as much as the advert is long, and leaves a whole truth behind. Pins and curators stand for the life of
a directory: other ones make another directory. Not here: whether an advert counts (`registry.trust`), whether its node
has proven itself (`challenge`), and which candidate is asked first (`balance`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.groups import Candidate, Group, choices, current, fits, label
from gateway.names import MEMORY_S as NAME_MEMORY_S
from gateway.names import Names
from gateway.offers import Offers
from registry.trust import Believed, Change, Curation, Key
from relay.errors import ApiError, BadRequest, NotFound, Unavailable, unsupported

__all__ = ["NAME_MEMORY_S", "RETRY_AFTER_S", "Directory", "Route", "away"]

RETRY_AFTER_S = 5
_ENOUGH = 64  # candidates to choose from: a request need not look at ten thousand
_QUALIFIER = re.compile(r"[0-9a-f]{8,64}|0x[0-9a-f]{40}")


Usable = Callable[[Candidate], bool]


@dataclass(frozen=True)
class Route:
    """What a name means now. `model` is the advertised name, which the nodes are told. Of many, a random few."""

    model: str
    candidates: tuple[Candidate, ...]


class Directory:
    """All that is routable. `pins` are the gateway's own; `seen` says when a name was last valid (Unix seconds).

    `owns`: does the operator of an advert own the virtual machine that it claims, as far as is known now?
    """

    def __init__(
        self,
        believed: Iterable[Believed] = (),
        curation: Curation | None = None,
        pins: Mapping[str, str] | None = None,
        seen: Mapping[str, float] | None = None,
        owns: Callable[[Believed], bool] = lambda _: False,
    ) -> None:
        self._offers = Offers(Names(seen))
        self._slugs: Mapping[str, str] = curation.slugs if curation else {}
        self._pins = {**(curation.models if curation else {}), **(pins or {})}
        self._owns = owns
        for one in believed:
            self.apply(Change((one.advert.operator, one.advert.node), one), 0.0)

    def __repr__(self) -> str:
        offers = self._offers
        return f"<Directory nodes={len(offers.by_node)} names={len(offers.by_name)} aliases={len(offers.by_alias)}>"

    def __len__(self) -> int:
        return len(self._offers.listed)

    @property
    def names(self) -> Names:
        return self._offers.names

    def apply(self, change: Change, now: float) -> Believed | None:
        """Take what is believed of one node by now; returns what was believed before."""
        return self._offers.replace(change.key, change.believed, now)

    def lists(self, node: str) -> bool:
        """Is anything believed of that node, by whichever operator?"""
        return node in self._offers.by_node

    def resolve(self, name: str, endpoint: str, now: float, usable: Usable = lambda _: True) -> Route:
        """`usable` candidates for a model name, alias, `model@digest` or `model@0xoperator`, none of them expired.

        Raises ApiError: 404 never seen, 503 known but away, 400 ambiguous or not offered on this endpoint.
        """
        group, operator = self._group(name, now)
        return _route(name, group.model, current(group.draw(), operator, now), endpoint, usable)

    def meaning(self, name: str, now: float) -> tuple[str, list[Candidate]]:
        """The advertised name behind any name, and who offers it now, on whatever endpoint. Raises as `resolve`."""
        group, operator = self._group(name, now)
        return group.model, list(current(group.candidates, operator, now))

    def resolve_at(self, vm: str, name: str, endpoint: str, now: float, usable: Usable = lambda _: True) -> Route:
        """The same, asked of one VM: `vm` is a node key, a curator's slug, or the Aleph item hash of an owned VM."""
        model, candidates = self.meaning_at(vm, name, now)
        return _route(name, model, candidates, endpoint, usable)

    def meaning_at(self, vm: str, name: str, now: float) -> tuple[str, list[Candidate]]:
        """As `meaning`, asked of one VM."""
        offered = self.offered_at(vm, now)
        base, at, qualifier = name.partition("@")
        found = [c for c in offered if c.offer.model == base] or [c for c in offered if base in c.offer.aliases]
        if at:
            _check_qualifier(name, qualifier)
            found = [c for c in found if fits(c, qualifier)]
        if not found:
            raise NotFound(f"The VM {vm} does not offer the model {name!r}.", param="model", code="model_not_found")
        return found[0].offer.model, found

    def meanings(self) -> Iterator[tuple[str, Iterable[Candidate]]]:
        """Every plain name that means one thing, and every `model@digest` of one that does not, with who offers it."""
        for name in sorted(self._offers.by_name):
            groups = list(self._offers.by_name[name].values())
            chosen = self._preferred(name, groups)
            if chosen is not None:
                yield name, chosen.candidates
            else:
                yield from ((label(group, self._offers.digests), group.candidates) for group in groups)

    def meanings_at(self, vm: str, now: float) -> Iterator[tuple[str, Iterable[Candidate]]]:
        """The same of one VM, whose names mean one thing each."""
        by_name: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in self.offered_at(vm, now):
            by_name[candidate.offer.model].append(candidate)
        yield from by_name.items()

    def offered_at(self, vm: str, now: float) -> list[Candidate]:
        """What is behind `/vm/{vm}`: a node, a curator's slug of a node or a model, an owned VM. Raises ApiError."""
        target = self._slugs.get(vm, vm)
        if target in self._offers.by_name and vm in self._slugs:
            chosen = self._choose(target, list(self._offers.by_name[target].values()))
            return [c for c in chosen.candidates if c.believed.valid_until > now]
        known = self._offers.by_node.get(target, {}).values() or self._owned(target, now)
        current = [believed for believed in known if believed.valid_until > now]
        if not current and (known or vm in self._slugs or self.names.was_seen(vm, now)):
            raise away(vm)
        if not known:
            raise NotFound(f"There is no VM {vm} here.", code="vm_not_found")
        return [Candidate(believed, offer) for believed in current for offer in believed.advert.offers]

    def current(self, now: float) -> list[Believed]:
        """Every believed advert that has not expired."""
        return [believed for believed in self._offers.listed.values() if believed.valid_until > now]

    def all_keys(self) -> list[Key]:
        """Of all that is believed."""
        return list(self._offers.listed)

    def get(self, key: Key) -> Believed | None:
        return self._offers.listed.get(key)

    def names_seen(self, now: float) -> dict[str, float]:
        """When each name was last valid, for a restart. Bounded; forgotten after a day."""
        return self.names.seen(now)

    def _owned(self, item_hash: str, now: float) -> Collection[Believed]:
        """The newest advert of those whose operator owns that virtual machine; none is nobody's business."""
        claims = self._offers.by_vm.get(item_hash, {}).values()
        owned = [believed for believed in claims if believed.valid_until > now and self._owns(believed)]
        return [max(owned, key=lambda believed: believed.advert.issued_at)] if owned else []

    def _group(self, name: str, now: float) -> tuple[Group, str | None]:
        """What a name means, and the one operator that it asks for, if it does."""
        base, at, qualifier = name.partition("@")
        groups = list((self._offers.by_name.get(base) or self._offers.by_alias.get(base) or {}).values())
        if at:
            group = self._qualified(name, groups, qualifier, now)
        elif groups:
            group = self._choose(base, groups)
        else:
            raise self._missing(name, groups, now)
        return group, qualifier if qualifier.startswith("0x") else None

    def _missing(self, name: str, groups: Sequence[Group], now: float) -> ApiError:
        if self.names.was_seen(name, now) or ("@" in name and self.names.was_seen_longer(name, now)):
            return away(name)
        if groups:
            text = f"Nobody offers {name!r} here. {choices(groups, self._offers.digests)}"
        else:
            text = f"The model {name!r} does not exist here. GET /v1/models lists what does."
        return NotFound(text, param="model", code="model_not_found")

    def _qualified(self, name: str, groups: Sequence[Group], qualifier: str, now: float) -> Group:
        _check_qualifier(name, qualifier)
        found = [group for group in groups if group.matches(qualifier)]
        found = [group for group in found if group.operator == qualifier] or found  # that group has no other name
        if not found:
            raise self._missing(name, groups, now)
        if len(found) > 1:
            raise self._ambiguous(name, found)
        return found[0]

    def _choose(self, name: str, groups: Sequence[Group]) -> Group:
        chosen = self._preferred(name, groups)
        if chosen is None:
            raise self._ambiguous(name, groups)
        return chosen

    def _preferred(self, base: str, groups: Sequence[Group]) -> Group | None:
        models = {group.model for group in groups}
        for name in (base, *models) if len(models) == 1 else (base,):
            if name in self._pins:
                return next((g for g in groups if g.digest == self._pins[name]), Group(name, self._pins[name], None))
        if len(groups) == 1:
            return groups[0]
        explicit = [group for group in groups if group.explicit]
        return explicit[0] if len(explicit) == 1 else None

    def _ambiguous(self, name: str, groups: Sequence[Group]) -> ApiError:
        text = f"{name!r} means several models here. {choices(groups, self._offers.digests)}"
        return BadRequest(text, param="model", code="model_ambiguous")


def away(name: str) -> ApiError:
    """A known name whose nodes are all away."""
    return Unavailable(
        f"{name!r} is known, but none of its nodes is up now.", retry_after_s=RETRY_AFTER_S, code="model_unavailable"
    )


def _check_qualifier(name: str, qualifier: str) -> None:
    if not _QUALIFIER.fullmatch(qualifier):
        raise BadRequest(
            f"{name!r}: after @ comes the start of a weights digest (8 or more lower-case hex digits) "
            "or an operator's 0x address.",
            param="model",
            code="invalid_model",
        )


def _route(name: str, model: str, candidates: Iterable[Candidate], endpoint: str, usable: Usable) -> Route:
    served: set[str] = set()
    found = []
    for candidate in candidates:
        served.update(candidate.offer.endpoints)
        if endpoint in candidate.offer.endpoints and usable(candidate):
            found.append(candidate)
            if len(found) == _ENOUGH:
                break
    if found:
        return Route(model, tuple(found))
    if endpoint in served or not served:
        raise away(name)
    raise unsupported(name, endpoint, served)
