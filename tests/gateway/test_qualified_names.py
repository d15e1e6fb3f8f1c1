"""`model@digest` and `model@0xoperator`, and names that are away or were never seen. No loop, no socket."""

from __future__ import annotations

import pytest

from gateway.directory import NAME_MEMORY_S, Directory
from tests.gateway.adverts import NOW, address, believed, offer
from tests.gateway.asking import ONE, TWO, ask, choices, keys, later, listed, refused, status_and_code

# model@digest and model@0xoperator


@pytest.mark.parametrize("length", [8, 9, 12, 40, 64])
def test_the_start_of_a_digest_names_a_group(length: int) -> None:
    weights = "abcdef0123" + "9" * 54
    directory = Directory([believed("a", "n1", offer("m", weights)), believed("b", "n2", offer("m", TWO))])
    assert ask(directory, f"m@{weights[:length]}") == keys("n1")


@pytest.mark.parametrize("qualifier", ["", "abcdef0", "ABCDEF01", "zzzzzzzz", "0x12", "0x" + "F" * 40, "1" * 65, "a@b"])
def test_what_is_neither_digest_nor_address_is_400(qualifier: str) -> None:
    directory = Directory([believed("a", "n1", offer("m", "abcdef0123"))])
    error = refused(directory, f"m@{qualifier}")
    assert status_and_code(error) == (400, "invalid_model")
    assert error.param == "model"


def test_a_prefix_of_several_groups_is_ambiguous() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m", "abcdef0111")), believed("b", "n2", offer("m", "abcdef0122"))]
    )
    error = refused(directory, "m@abcdef01")
    assert status_and_code(error) == (400, "model_ambiguous")
    assert len({frozenset(ask(directory, name)) for name in choices(error)}) == 2
    assert ask(directory, "m@abcdef0122") == keys("n2")


def test_an_unknown_digest_is_404_and_names_those_there_are() -> None:
    error = refused(Directory([believed("a", "n1", offer("m", ONE))]), "m@deadbeef")
    assert status_and_code(error) == (404, "model_not_found")
    assert choices(error) == [f"m@{ONE}"]


def test_an_operator_means_its_own_nodes_alone() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE)), believed("b", "n2", offer("m", ONE))])
    assert ask(directory, f"m@{address('b')}") == keys("n2")
    assert status_and_code(refused(directory, f"m@{address('c')}")) == (404, "model_not_found")


def test_an_operator_with_two_weights_of_one_name_is_ambiguous_and_its_choices_work() -> None:
    directory = Directory(
        [
            believed("a", "n1", offer("m", ONE)),
            believed("a", "n2", offer("m", TWO)),
            believed("b", "n3", offer("m", ONE[:11] + "5")),
        ]
    )
    error = refused(directory, f"m@{address('a')}")
    assert status_and_code(error) == (400, "model_ambiguous")
    assert {frozenset(ask(directory, name)) for name in choices(error)} == {
        frozenset(keys("n1")),
        frozenset(keys("n2")),
    }


# away, and never seen


@pytest.mark.parametrize("name", ["m", "short", f"m@{ONE[:8]}", f"m@{address('a')}", f"short@{ONE[:8]}"])
def test_a_name_seen_in_the_last_day_is_503_and_afterwards_404(name: str) -> None:
    before = Directory([believed("a", "n1", offer("m", ONE, aliases=["short"]))])
    after = later(before)
    error = refused(after, name, NOW + NAME_MEMORY_S - 1)
    assert status_and_code(error) == (503, "model_unavailable")
    assert int(error.headers()["Retry-After"]) > 0
    assert refused(after, name, NOW + NAME_MEMORY_S + 1).status == 404


@pytest.mark.parametrize("name", [f"m@{ONE[:8]}", f"m@{address('a')}", f"short@{ONE[:8]}"])
def test_a_group_whose_nodes_left_is_503_though_others_offer_the_name(name: str) -> None:
    before = Directory([believed("a", "n1", offer("m", ONE, aliases=["short"]))])
    after = later(before, believed("b", "n2", offer("m", TWO, aliases=["short"])))
    assert refused(after, name).status == 503
    assert ask(after, "m") == keys("n2")


def test_a_group_that_was_never_there_is_404_even_while_its_model_is_away() -> None:
    after = later(Directory([believed("a", "n1", offer("m", ONE))]))
    assert refused(after, "m@deadbeef").status == 404
    assert refused(after, f"m@{address('stranger')}").status == 404


def test_names_are_remembered_over_many_directories_and_then_forgotten() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE))])
    for hour in range(1, 24):
        directory = Directory(seen=directory.names_seen(NOW + hour * 3600 - 3600))
    assert refused(directory, "m", NOW + 23 * 3600).status == 503
    assert "m" not in Directory(seen=directory.names_seen(NOW + 25 * 3600)).names_seen(NOW + 25 * 3600)


def test_an_advert_ends_by_the_clock_alone() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE), until=NOW + 10)])
    assert ask(directory, "m", now=NOW + 9) == keys("n1")
    assert status_and_code(refused(directory, "m", now=NOW + 10)) == (503, "model_unavailable")
    assert listed(directory, NOW + 10) == []
    assert directory.current(NOW + 10) == []


def test_of_two_nodes_the_one_whose_advert_ended_is_left_out() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m", ONE), until=NOW + 10), believed("a", "n2", offer("m", ONE), until=NOW + 20)]
    )
    assert ask(directory, "m", now=NOW + 15) == keys("n2")
