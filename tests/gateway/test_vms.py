"""What one VM answers, which endpoints there are, and what the list of models says. No loop, no socket."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.directory import NAME_MEMORY_S, Directory
from relay.errors import ApiError
from tests.gateway.adverts import NOW, address, believed, curation, digest, node_key, offer
from tests.gateway.asking import (
    CHAT,
    ONE,
    TWO,
    ask,
    choices,
    keys,
    later,
    listed,
    listed_at,
    nodes_of,
    refused,
    status_and_code,
)

CROWD = range(10_000)


# endpoints


def test_an_endpoint_that_the_model_does_not_serve_is_400_and_names_those_it_does() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE, endpoints=["embeddings", "completions"]))])
    error = refused(directory, "m")
    assert status_and_code(error) == (400, "unsupported_endpoint")
    assert "completions, embeddings" in error.message
    assert ask(directory, "m", "embeddings") == keys("n1")


def test_only_the_nodes_that_serve_the_endpoint_are_candidates() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m", ONE)), believed("a", "n2", offer("m", ONE, endpoints=["completions"]))]
    )
    assert ask(directory, "m") == keys("n1")


# one VM


def _at(directory: Directory, vm: str, name: str, now: float = NOW) -> set[str]:
    return nodes_of(directory.resolve_at(vm, name, CHAT, now))


def _refused_at(directory: Directory, vm: str, name: str, now: float = NOW) -> ApiError:
    with pytest.raises(ApiError) as caught:
        directory.resolve_at(vm, name, CHAT, now)
    return caught.value


PAIR = [
    believed("a", "n1", offer("m", ONE, aliases=["short"]), offer("other", TWO)),
    believed("b", "n2", offer("m", TWO)),
]


@pytest.mark.parametrize("name", ["m", "short", f"m@{ONE[:8]}", f"m@{address('a')}", f"short@{ONE[:8]}"])
def test_a_vm_is_asked_alone_and_no_name_is_ambiguous_there(name: str) -> None:
    directory = Directory(PAIR)
    assert directory.resolve_at(node_key("n1"), name, CHAT, NOW).model == "m"
    assert _at(directory, node_key("n1"), name) == keys("n1")


@pytest.mark.parametrize("slugs", [{"fast": node_key("n2")}])
def test_a_slug_of_a_curator_leads_to_its_vm(slugs: Mapping[str, str]) -> None:
    directory = Directory(PAIR, curation(slugs=dict(slugs)))
    assert _at(directory, "fast", "m") == keys("n2")
    assert [item["id"] for item in listed_at(directory, "fast", NOW)] == ["m"]


def test_a_slug_may_name_a_model_and_then_means_the_nodes_that_it_means() -> None:
    directory = Directory([*PAIR, believed("a", "n3", offer("m", ONE))], curation({"m": digest(ONE)}, {"demo": "m"}))
    assert _at(directory, "demo", "m") == keys("n1", "n3")
    assert [(item["id"], item["nodes"]) for item in listed_at(directory, "demo", NOW)] == [("m", 2)]


@pytest.mark.parametrize(
    ("vm", "name", "status", "code"),
    [
        (node_key("stranger"), "m", 404, "vm_not_found"),
        ("no-slug", "m", 404, "vm_not_found"),
        ("", "m", 404, "vm_not_found"),
        (node_key("n2"), "other", 404, "model_not_found"),
        (node_key("n1"), f"m@{TWO}", 404, "model_not_found"),
        (node_key("n1"), f"m@{address('b')}", 404, "model_not_found"),
        (node_key("n1"), "m@nonsense", 400, "invalid_model"),
        ("gone", "m", 503, "model_unavailable"),
    ],
)
def test_what_a_vm_cannot_answer(vm: str, name: str, status: int, code: str) -> None:
    directory = Directory(PAIR, curation(slugs={"gone": node_key("n9")}))
    assert status_and_code(_refused_at(directory, vm, name)) == (status, code)


def test_a_vm_that_went_is_503_for_a_day() -> None:
    after = later(Directory(PAIR))
    assert _refused_at(after, node_key("n1"), "m").status == 503
    assert _refused_at(after, node_key("n1"), "m", NOW + NAME_MEMORY_S + 1).status == 404
    assert _refused_at(Directory(PAIR), node_key("n1"), "m", NOW + 601).status == 503


def test_an_endpoint_that_a_vm_does_not_serve_is_400() -> None:
    with pytest.raises(ApiError) as caught:
        Directory(PAIR).resolve_at(node_key("n1"), "m", "embeddings", NOW)
    assert status_and_code(caught.value) == (400, "unsupported_endpoint")


# the list of models


def test_a_listed_model_tells_what_is_behind_it() -> None:
    prices = [{"unit": "usd/1M prompt tokens", "amount": "0.05"}]
    directory = Directory(
        [
            believed("a", "n1", offer("m", ONE, aliases=["s"], prices=prices, context_length=2048)),
            believed("b", "n2", offer("m", ONE, aliases=["t"], endpoints=["completions"], prices=prices)),
        ]
    )
    (item,) = listed(directory, NOW)
    assert item == {
        "id": "m",
        "object": "model",
        "created": int(NOW) - 60,
        "owned_by": address("a"),
        "endpoints": ["chat.completions", "completions"],
        "aliases": ["s", "t"],
        "context_length": 4096,
        "weights_sha256": digest(ONE),
        "operators": sorted([address("a"), address("b")]),
        "nodes": 2,
        "warm": 2,
        "price": prices,
    }


def test_an_ambiguous_model_is_listed_by_its_choices() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE)), believed("b", "n2", offer("m"))])
    labels = [item["id"] for item in listed(directory, NOW)]
    assert labels == choices(refused(directory, "m"))
    assert {frozenset(ask(directory, name)) for name in labels} == {frozenset(keys("n1")), frozenset(keys("n2"))}


def test_a_model_without_a_context_says_so() -> None:
    (item,) = listed(Directory([believed("a", "n1", offer("voice", ONE, context_length=None))]), NOW)
    assert item["context_length"] is None
    assert item["price"] is None


@pytest.mark.timeout(15)
def test_a_crowd_of_fakes_costs_no_more_than_its_size() -> None:
    fakes = [believed("o", f"n{i}", offer("m", f"{i:016x}")) for i in CROWD]
    directory = Directory(fakes)
    error = refused(directory, "m")
    assert len(choices(error)) == 100
    assert f"and {len(CROWD) - 100} more" in error.message
    assert len(listed(directory, NOW)) == len(CROWD)
