"""A name that thousands offer: a request looks at a few of them, whoever they are, and at the named ones first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.directory import Directory
from gateway.groups import Candidate
from gateway.listing import Listing
from gateway.pool import Pool
from tests.gateway.adverts import NOW, believed, node_key, offer
from tests.gateway.asking import CHAT

MANY = 2000


@given(st.lists(st.integers(0, 12)))
def test_a_pool_draws_everybody_who_stands_there_once(toggled: list[int]) -> None:
    pool, standing = Pool[int, str](), dict[int, str]()
    for spot in toggled:
        if spot in pool:
            assert pool.remove(spot) == standing.pop(spot)
        else:
            pool.add(spot, str(spot))
            standing[spot] = str(spot)
        assert sorted(pool) == sorted(pool.draw()) == sorted(standing.values())
        assert len(pool) == len(standing)


def _crowd(*named: str) -> Directory:
    strangers = [believed(f"o{number}", f"n{number}", offer("m", weights_sha256="ab" * 32)) for number in range(MANY)]
    return Directory(
        [*strangers, *(believed("known", node, offer("m", weights_sha256="ab" * 32), explicit=True) for node in named)]
    )


def test_a_request_looks_at_a_few_and_in_time_at_all() -> None:
    directory, seen, looked = _crowd(), set[str](), 0

    def usable(candidate: Candidate) -> bool:
        nonlocal looked
        looked += 1
        seen.add(candidate.node)
        return True

    for _ in range(1000):
        directory.resolve("m", CHAT, NOW, usable)
    assert looked < 1000 * MANY / 20
    assert len(seen) == MANY


def test_those_who_were_named_are_always_among_them_and_the_only_usable_one_too() -> None:
    directory = _crowd("a", "b")
    for _ in range(20):
        assert {node_key("a"), node_key("b")} <= {
            candidate.node for candidate in directory.resolve("m", CHAT, NOW).candidates
        }
        only = directory.resolve("m", CHAT, NOW, lambda candidate: candidate.node == node_key("n7")).candidates
        assert [candidate.node for candidate in only] == [node_key("n7")]


def test_a_list_is_shown_again_for_as_long_as_it_was_dear() -> None:
    listing, made = Listing(), 0

    def make() -> list[dict[str, object]]:
        nonlocal made
        made += 1
        sum(range(5_000_000))
        return [{"id": str(made)}]

    assert listing.items(make) == listing.items(make) == [{"id": "1"}]
    while made == 1:
        listing.items(make)
