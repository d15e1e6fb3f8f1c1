"""Names, after the protocol: what a bare one means, and when it is ambiguous. No loop, no socket."""

from __future__ import annotations

from gateway.directory import Directory
from tests.gateway.adverts import NOW, address, believed, curation, digest, offer
from tests.gateway.asking import CHAT, ONE, TWO, ask, choices, keys, listed, nodes_of, refused, status_and_code

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
    assert [item["weights_sha256"] for item in listed(Directory(rivals, pins={"m": digest(TWO)}), NOW)] == [digest(TWO)]
