"""Names, after the protocol: what each means, when it means nothing, and what is said then. No loop, no socket."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway import listing
from gateway.directory import NAME_MEMORY_S, Directory, Route
from relay.errors import ApiError
from tests.gateway.adverts import NOW, address, believed, curation, digest, node_key, offer

CHAT = "chat.completions"
ONE, TWO = "1" * 12, "2" * 12
CROWD = range(10_000)


def nodes_of(route: Route) -> set[str]:
    return {candidate.node for candidate in route.candidates}


def ask(directory: Directory, name: str, endpoint: str = CHAT, now: float = NOW) -> set[str]:
    """The keys of the nodes that a name means."""
    return nodes_of(directory.resolve(name, endpoint, now))


def refused(directory: Directory, name: str, now: float = NOW, endpoint: str = CHAT) -> ApiError:
    with pytest.raises(ApiError) as caught:
        directory.resolve(name, endpoint, now)
    return caught.value


def status_and_code(error: ApiError) -> tuple[int, str | None]:
    return error.status, error.code


def keys(*names: str) -> set[str]:
    return {node_key(name) for name in names}


def choices(error: ApiError) -> list[str]:
    """The names that a refusal tells the caller to choose from."""
    return re.findall(r"[^ ,]+@[0-9a-fx]+", error.message.partition("Choose one of:")[2])


# names and aliases


def test_a_name_means_every_node_that_offers_it_with_the_same_weights() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE)), believed("b", "n2", offer("m", ONE))])
    assert ask(directory, "m") == keys("n1", "n2")


def test_an_alias_leads_to_the_advertised_name() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE, aliases=["short"]))])
    route = directory.resolve("short", CHAT, NOW)
    assert (route.model, nodes_of(route)) == ("m", keys("n1"))


def test_an_alias_never_shadows_a_name() -> None:
    thief = believed("thief", "n2", offer("other", TWO, aliases=["m"]), explicit=True)
    directory = Directory([thief, believed("a", "n1", offer("m", ONE))])
    assert ask(directory, "m") == keys("n1")
    assert status_and_code(refused(directory, f"m@{TWO}")) == (404, "model_not_found")


def test_an_alias_of_two_models_is_ambiguous_and_its_choices_work() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m1", ONE, aliases=["x"])), believed("a", "n2", offer("m2", TWO, aliases=["x"]))]
    )
    error = refused(directory, "x")
    assert status_and_code(error) == (400, "model_ambiguous")
    assert {frozenset(ask(directory, choice)) for choice in choices(error)} == {
        frozenset(keys("n1")),
        frozenset(keys("n2")),
    }


def test_an_alias_takes_a_digest_too() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m1", ONE, aliases=["x"])), believed("a", "n2", offer("m2", TWO, aliases=["x"]))]
    )
    assert ask(directory, f"x@{TWO}") == keys("n2")


def test_an_unknown_name_is_404_and_says_where_to_look() -> None:
    error = refused(Directory(), "nothing")
    assert status_and_code(error) == (404, "model_not_found")
    assert error.param == "model"
    assert "/v1/models" in error.message


# groups, and which of them a bare name means


def test_a_null_digest_is_a_group_of_one_operator() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m")), believed("a", "n2", offer("m")), believed("b", "n3", offer("m"))]
    )
    error = refused(directory, "m")
    assert status_and_code(error) == (400, "model_ambiguous")
    assert sorted(choices(error)) == sorted([f"m@{address('a')}", f"m@{address('b')}"])
    assert ask(directory, f"m@{address('a')}") == keys("n1", "n2")
    assert ask(directory, f"m@{address('b')}") == keys("n3")


def test_explicitly_trusted_operators_that_agree_win_over_any_number_of_keys() -> None:
    honest = [believed(name, f"n-{name}", offer("m", ONE), explicit=True) for name in ("a", "b")]
    fakes = [believed(f"fake{i}", f"f{i}", offer("m", f"{i:08x}ff")) for i in range(50)]
    directory = Directory([*fakes[:25], *honest, *fakes[25:]])
    assert ask(directory, "m") == keys("n-a", "n-b")


def test_fifty_fakes_without_an_explicit_operator_are_ambiguous_and_every_choice_works() -> None:
    fakes = [believed(f"fake{i}", f"f{i}", offer("m", f"{i:08x}ff")) for i in range(50)]
    directory = Directory(fakes)
    error = refused(directory, "m")
    assert status_and_code(error) == (400, "model_ambiguous")
    offered = choices(error)
    assert len(offered) == 50
    assert {next(iter(ask(directory, name))) for name in offered} == keys(*(f"f{i}" for i in range(50)))


def test_fifty_fakes_of_one_operators_weights_do_not_outvote_it() -> None:
    fakes = [believed(f"fake{i}", f"f{i}", offer("m", TWO)) for i in range(50)]
    directory = Directory([*fakes, believed("a", "n1", offer("m", ONE), explicit=True)])
    assert ask(directory, "m") == keys("n1")


def test_explicitly_trusted_operators_that_differ_are_ambiguous() -> None:
    directory = Directory(
        [
            believed("a", "n1", offer("m", ONE), explicit=True),
            believed("b", "n2", offer("m", TWO), explicit=True),
            believed("fake", "n3", offer("m", "3" * 12)),
        ]
    )
    assert status_and_code(refused(directory, "m")) == (400, "model_ambiguous")


def test_two_explicit_operators_without_digests_do_not_agree() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m"), explicit=True), believed("b", "n2", offer("m"), explicit=True)]
    )
    assert status_and_code(refused(directory, "m")) == (400, "model_ambiguous")


def test_choices_are_unique_even_where_digests_share_their_start() -> None:
    near = "ab" * 10
    directory = Directory([believed("a", "n1", offer("m", near + "1")), believed("b", "n2", offer("m", near + "2"))])
    offered = choices(refused(directory, "m"))
    assert sorted(ask(directory, name) == keys("n1") for name in offered) == [False, True]
    error = refused(directory, f"m@{near}")
    assert status_and_code(error) == (400, "model_ambiguous")
    assert sorted(choices(error)) == sorted(offered)


def test_choices_of_an_alias_work_even_where_a_stranger_claims_a_near_digest() -> None:
    near = "ab" * 10
    directory = Directory(
        [
            believed("a", "n1", offer("m1", near + "1", aliases=["x"])),
            believed("a", "n2", offer("m2", TWO, aliases=["x"])),
            believed("thief", "n3", offer("m1", near + "2")),
        ]
    )
    assert [ask(directory, name) for name in sorted(choices(refused(directory, "x")))] == [keys("n1"), keys("n2")]


def test_an_operators_unnamed_weights_can_be_chosen_beside_its_named_ones() -> None:
    directory = Directory([believed("a", "n1", offer("m")), believed("a", "n2", offer("m", ONE))])
    offered = choices(refused(directory, "m"))
    assert [ask(directory, name) for name in offered] == [keys("n1"), keys("n2")]


# pins and curators


def test_a_pin_decides_whoever_else_claims_the_name() -> None:
    rivals = [believed("a", "n1", offer("m", ONE), explicit=True), believed("b", "n2", offer("m", TWO))]
    assert ask(Directory(rivals, pins={"m": digest(TWO)}), "m") == keys("n2")


def test_a_pin_comes_before_a_curator_and_a_curator_before_explicit_trust() -> None:
    rivals = [believed(n, f"n{n}", offer("m", str(n) * 12), explicit=n == "1") for n in ("1", "2", "3")]
    curated = curation({"m": digest("2" * 12)})
    assert ask(Directory(rivals), "m") == keys("n1")
    assert ask(Directory(rivals, curated), "m") == keys("n2")
    assert ask(Directory(rivals, curated, {"m": digest("3" * 12)}), "m") == keys("n3")


def test_a_pin_that_nobody_offers_is_away_and_never_somebody_else() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE), explicit=True)], pins={"m": digest(TWO)})
    assert status_and_code(refused(directory, "m")) == (503, "model_unavailable")
    assert ask(directory, f"m@{ONE}") == keys("n1"), "it can still be asked for by its digest"


def test_a_pin_holds_for_the_models_aliases_too() -> None:
    rivals = [believed(n, f"n{n}", offer("m", n * 12, aliases=["x"])) for n in ("1", "2")]
    assert ask(Directory(rivals, pins={"m": digest(TWO)}), "x") == keys("n2")


def test_the_listing_says_what_a_pinned_name_means() -> None:
    rivals = [believed(n, f"n{n}", offer("m", n * 12)) for n in ("1", "2")]
    assert [item["weights_sha256"] for item in listing.models(Directory(rivals, pins={"m": digest(TWO)}), NOW)] == [
        digest(TWO)
    ]


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


def _after(before: Directory, later: float, *now_believed: object) -> Directory:
    """The next directory, some seconds later, remembering the names of the one before."""
    return Directory(now_believed, seen=before.names_seen(NOW))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["m", "short", f"m@{ONE[:8]}", f"m@{address('a')}", f"short@{ONE[:8]}"])
def test_a_name_seen_in_the_last_day_is_503_and_afterwards_404(name: str) -> None:
    before = Directory([believed("a", "n1", offer("m", ONE, aliases=["short"]))])
    after = _after(before, 1)
    error = refused(after, name, NOW + NAME_MEMORY_S - 1)
    assert status_and_code(error) == (503, "model_unavailable")
    assert int(error.headers()["Retry-After"]) > 0
    assert refused(after, name, NOW + NAME_MEMORY_S + 1).status == 404


@pytest.mark.parametrize("name", [f"m@{ONE[:8]}", f"m@{address('a')}", f"short@{ONE[:8]}"])
def test_a_group_whose_nodes_left_is_503_though_others_offer_the_name(name: str) -> None:
    before = Directory([believed("a", "n1", offer("m", ONE, aliases=["short"]))])
    after = _after(before, 1, believed("b", "n2", offer("m", TWO, aliases=["short"])))
    assert refused(after, name).status == 503
    assert ask(after, "m") == keys("n2")


def test_a_group_that_was_never_there_is_404_even_while_its_model_is_away() -> None:
    after = _after(Directory([believed("a", "n1", offer("m", ONE))]), 1)
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
    assert listing.models(directory, NOW + 10) == []
    assert directory.current(NOW + 10) == []


def test_of_two_nodes_the_one_whose_advert_ended_is_left_out() -> None:
    directory = Directory(
        [believed("a", "n1", offer("m", ONE), until=NOW + 10), believed("a", "n2", offer("m", ONE), until=NOW + 20)]
    )
    assert ask(directory, "m", now=NOW + 15) == keys("n2")


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
    assert [item["id"] for item in listing.models_at(directory, "fast", NOW)] == ["m"]


def test_a_slug_may_name_a_model_and_then_means_the_nodes_that_it_means() -> None:
    directory = Directory([*PAIR, believed("a", "n3", offer("m", ONE))], curation({"m": digest(ONE)}, {"demo": "m"}))
    assert _at(directory, "demo", "m") == keys("n1", "n3")
    assert [(item["id"], item["nodes"]) for item in listing.models_at(directory, "demo", NOW)] == [("m", 2)]


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
    after = _after(Directory(PAIR), 1)
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
    (item,) = listing.models(directory, NOW)
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
        "price": prices,
    }


def test_an_ambiguous_model_is_listed_by_its_choices() -> None:
    directory = Directory([believed("a", "n1", offer("m", ONE)), believed("b", "n2", offer("m"))])
    listed = [item["id"] for item in listing.models(directory, NOW)]
    assert listed == choices(refused(directory, "m"))
    assert {frozenset(ask(directory, name)) for name in listed} == {frozenset(keys("n1")), frozenset(keys("n2"))}


def test_a_model_without_a_context_says_so() -> None:
    (item,) = listing.models(Directory([believed("a", "n1", offer("voice", ONE, context_length=None))]), NOW)
    assert item["context_length"] is None
    assert item["price"] is None


@pytest.mark.timeout(15)
def test_a_crowd_of_fakes_costs_no_more_than_its_size() -> None:
    one = believed("o", "n", offer("m", ONE))
    fakes = [replace(one, advert=one.advert.model_copy(update={"offers": (offer("m", f"{i:016x}"),)})) for i in CROWD]
    directory = Directory(fakes)
    error = refused(directory, "m")
    assert len(choices(error)) == 100
    assert f"and {len(CROWD) - 100} more" in error.message
    assert len(listing.models(directory, NOW)) == len(CROWD)
