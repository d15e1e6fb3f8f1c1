"""What is offered now, found by name, alias, node and virtual machine. One change costs as much as its advert is long.

Not here: what a name means where several offers go by it (directory).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TypeVar

from gateway.groups import Candidate, Group, names_of
from gateway.names import Names
from registry.advert import Offer
from registry.fields import DIGEST, matches
from registry.trust import Believed, Key


class Offers:
    """The index. To be read as it stands, and changed by `replace` alone."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.listed: dict[Key, Believed] = {}
        self.by_name: dict[str, dict[str, Group]] = {}  # then by weights
        self.by_alias: dict[str, dict[tuple[str, str], Group]] = {}  # then by name and weights
        self.by_node: dict[str, dict[str, Believed]] = {}  # then by operator
        self.by_vm: dict[str, dict[Key, Believed]] = {}  # by item hash, as claimed
        self.digests: dict[str, list[str]] = {}  # of a name, sorted

    def __repr__(self) -> str:
        return f"<Offers nodes={len(self.by_node)} names={len(self.by_name)}>"

    def replace(self, key: Key, believed: Believed | None, now: float) -> Believed | None:
        """Put `believed` in the place of what was offered under `key`, which is returned."""
        before = self.listed.get(key)
        if believed is not None:
            self.names.use(names_of(believed))
        if before is not None:
            self._remove(key, before)
            self.names.leave(names_of(before), now)
        if believed is not None:
            self._add(key, believed)
        return before

    def _add(self, key: Key, believed: Believed) -> None:
        advert = believed.advert
        self.listed[key] = believed
        self.by_node.setdefault(advert.node, {})[advert.operator] = believed
        if item_hash := claimed_vm(believed):
            self.by_vm.setdefault(item_hash, {})[key] = believed
        for number, offer in enumerate(advert.offers):
            group = self._group(offer, advert.operator)
            for alias in group.add((*key, number), Candidate(believed, offer)):
                self.by_alias.setdefault(alias, {})[_weights(offer, advert.operator)] = group

    def _remove(self, key: Key, believed: Believed) -> None:
        advert = believed.advert
        del self.listed[key]
        _drop(self.by_node, advert.node, advert.operator)
        if item_hash := claimed_vm(believed):
            _drop(self.by_vm, item_hash, key)
        for number, offer in enumerate(advert.offers):
            model, weights = _weights(offer, advert.operator)
            group = self.by_name[model][weights]
            for alias in group.remove((*key, number)):
                _drop(self.by_alias, alias, (model, weights))
            if not group:
                self._forget(group, weights)

    def _group(self, offer: Offer, operator: str) -> Group:
        model, weights = _weights(offer, operator)
        groups = self.by_name.setdefault(model, {})
        if weights not in groups:
            groups[weights] = Group(model, offer.weights_sha256, None if offer.weights_sha256 else operator)
            if offer.weights_sha256:
                insort(self.digests.setdefault(model, []), offer.weights_sha256)
        return groups[weights]

    def _forget(self, group: Group, weights: str) -> None:
        _drop(self.by_name, group.model, weights)
        if group.digest:
            among = self.digests[group.model]
            del among[bisect_left(among, group.digest)]
            if not among:
                del self.digests[group.model]


def claimed_vm(believed: Believed) -> str | None:
    """The Aleph item hash of the virtual machine in which a node says that it runs."""
    vm = believed.advert.vm
    if vm is None or vm.platform != "aleph" or vm.item_hash is None or not matches(DIGEST, vm.item_hash):
        return None
    return vm.item_hash


def _weights(offer: Offer, operator: str) -> tuple[str, str]:
    """Which group an offer belongs to."""
    return offer.model, offer.weights_sha256 or operator


_K1 = TypeVar("_K1")
_K2 = TypeVar("_K2")
_V = TypeVar("_V")


def _drop(index: dict[_K1, dict[_K2, _V]], key: _K1, inner: _K2) -> None:
    del index[key][inner]
    if not index[key]:
        del index[key]
