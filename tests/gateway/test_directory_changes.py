"""A directory that is changed advert by advert says the same as one that is made at once of what is left."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.directory import Directory
from gateway.names import KEPT, MEMORY_S, Names
from registry.trust import Believed, Change
from relay.errors import ApiError
from tests.gateway.adverts import NOW, address, believed, curation, digest, node_key, offer
from tests.gateway.asking import CHAT, ONE, TWO, labels, listed, nodes_of

CURATION = curation({"pinned": digest(ONE)}, {"fast": node_key("n1"), "model": "m"})
OFFERS = st.lists(
    st.builds(
        lambda model, weights, aliases: offer(model, weights, aliases=aliases),
        st.sampled_from(["m", "pinned", "x"]),
        st.sampled_from([None, ONE, TWO]),
        st.lists(st.sampled_from(["m", "x", "y"]), max_size=2),
    ),
    min_size=1,
    max_size=3,
)
CHANGES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["n1", "n2"]), st.none() | OFFERS, st.booleans()), max_size=12
)
NAMES = [
    name + at
    for name in ("m", "pinned", "x", "y", "fast", "model")
    for at in ("", f"@{ONE}", f"@{TWO}", f"@{address('a')}")
]


def meaning(directory: Directory, name: str) -> object:
    try:
        route = directory.resolve(name, CHAT, NOW)
    except ApiError as error:
        return _said(error)
    return route.model, nodes_of(route)


def behind(directory: Directory, vm: str) -> object:
    try:
        return sorted((one.node, one.operator, one.offer.model) for one in directory.offered_at(vm, NOW))
    except ApiError as error:
        return _said(error)


def _said(error: ApiError) -> object:
    """404 or 503 is a question of what was seen before, which is not asked here."""
    return "none" if error.status in (404, 503) else (error.code, sorted(labels(error.message)))


def all_of(directory: Directory) -> Any:
    names = {name: meaning(directory, name) for name in NAMES}
    vms = {vm: behind(directory, vm) for vm in ("fast", "model", node_key("n1"), node_key("n2"))}
    return names, vms, sorted(item["id"] for item in listed(directory)), len(directory)


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_change_by_change_is_as_at_once(changes: list[Any]) -> None:
    directory, left = Directory((), CURATION), dict[tuple[str, str], Believed]()
    for operator, node, offers, explicit in changes:
        now = believed(operator, node, *offers, explicit=explicit) if offers else None
        key = (address(operator), node_key(node))
        assert directory.apply(Change(key, now), NOW) is left.pop(key, None)
        if now is not None:
            left[key] = now
        assert all_of(directory) == all_of(Directory(left.values(), CURATION))
    for key in list(left):
        directory.apply(Change(key, None), NOW)
    assert repr(directory) == "<Directory nodes=0 names=0 aliases=0>"
    assert repr(directory.names).startswith("<Names used=0 ")


def test_names_are_bounded_and_the_oldest_goes_first() -> None:
    names = Names()
    for number in range(KEPT + 10):
        names.use([f"n{number}@x"])
        names.leave([f"n{number}@x"], NOW)
    assert repr(names) == f"<Names used=0 seen={KEPT}>"
    assert not names.was_seen_longer("n1@", NOW) and names.was_seen_longer(f"n{KEPT}@", NOW)
    assert len(names.seen(NOW)) == KEPT and names.seen(NOW + MEMORY_S) == {}


def test_another_directory_takes_over_what_the_one_before_has_seen() -> None:
    before, after = Names({"earlier": NOW - 10}), Names()
    before.use(["stays", "leaves"])
    after.use(["stays"])
    assert all(step is None for step in after.inherit(before, NOW))
    assert after.seen(NOW + 5) == {"earlier": NOW - 10, "leaves": NOW, "stays": NOW + 5}
