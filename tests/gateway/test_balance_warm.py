"""Warm before cold, but never one warm node in the place of all; and what a node has shown counts for a while."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from gateway.balance import Balance
from gateway.directory import Directory
from gateway.groups import Candidate
from tests.gateway.adverts import NOW, believed, carrying, node_key, offer
from tests.gateway.asking import CHAT, listed

A, B, C = node_key("a"), node_key("b"), node_key("c")


def candidate(name: str, model: str = "m", explicit: bool = False, **changes: Any) -> Candidate:
    made = offer(model, **changes)
    return Candidate(believed("op", name, made, explicit=explicit), made)


def newer(one: Candidate, warm: bool) -> Candidate:
    """The same candidate by that node's next advert."""
    made = one.offer.model_copy(update={"warm": warm})
    advert = one.believed.advert.model_copy(update={"seq": one.believed.advert.seq + 1, "offers": (made,)})
    return Candidate(replace(one.believed, advert=advert), made)


def nodes(balance: Balance, *among: Candidate, now: float = 0.0) -> list[str]:
    return [one.node for one in balance.order(among, now)]


def test_warm_comes_first_also_when_it_is_busier_and_asked_last() -> None:
    balance, warm, cold = Balance(), candidate("a"), candidate("b", warm=False)
    with carrying(balance, A, "m"):
        assert nodes(balance, cold, warm) == [A, B]
    assert nodes(balance, cold, warm) == [A, B]


def test_a_warm_node_that_is_full_comes_after_a_cold_one_that_is_not() -> None:
    balance, warm, cold = Balance(), candidate("a", parallel=2), candidate("b", warm=False, parallel=1)
    with carrying(balance, A, "m"), carrying(balance, A, "m"):
        assert nodes(balance, warm, cold) == [B, A]
        with carrying(balance, B, "m"):
            assert nodes(balance, warm, cold) == [A, B], "both are full: the least busy for its slots"
            with carrying(balance, A, "m"), carrying(balance, A, "m"):
                assert nodes(balance, warm, cold) == [B, A]


def test_a_crowd_fills_the_warm_node_then_the_others_and_then_all_evenly() -> None:
    balance = Balance()
    three = (candidate("a", parallel=4), candidate("b", warm=False, parallel=4), candidate("c", warm=False, parallel=4))
    asked: list[str] = []
    with ExitStack() as running:
        for _ in range(24):
            asked.append(nodes(balance, *three)[0])
            running.enter_context(carrying(balance, asked[-1], "m"))
    assert set(asked[:4]) == {A}
    assert asked[4:8] in ([B] * 4, [C] * 4), "one node loads the model, and the next when that one is full"
    assert Counter(asked) == {A: 8, B: 8, C: 8}


def test_a_nodes_other_models_do_not_fill_it() -> None:
    balance, warm, cold = Balance(), candidate("a", parallel=1), candidate("b", warm=False)
    with carrying(balance, A, "other"), carrying(balance, A, "other"):
        assert nodes(balance, warm, cold) == [A, B]


def test_trust_comes_before_warmth_and_failure_before_both() -> None:
    balance, known, stranger = Balance(), candidate("a", explicit=True, warm=False), candidate("b")
    assert nodes(balance, stranger, known) == [A, B]
    balance.failed(known, now=0.0)
    assert nodes(balance, stranger, known, now=0.5) == [B, A]


def test_who_loads_a_model_already_is_asked_before_another_has_to() -> None:
    balance, two = Balance(), (candidate("a", warm=False, parallel=2), candidate("b", warm=False, parallel=2))
    first = nodes(balance, *two)[0]
    with carrying(balance, first, "m"):
        assert nodes(balance, *two)[0] == first


def test_what_has_answered_is_warm_until_that_is_old_or_its_node_says_otherwise() -> None:
    balance, one, other = Balance(), candidate("a", warm=False), candidate("b", warm=False)
    with carrying(balance, A, "m"):
        pass
    assert nodes(balance, one, other) == [B, A], "the longest not asked"
    balance.answered(one, now=0.0)
    assert nodes(balance, one, other, now=59.0) == [A, B]
    assert nodes(balance, one, other, now=61.0) == [B, A]
    balance.answered(one, now=0.0)
    assert nodes(balance, newer(one, warm=False), other, now=1.0) == [B, A]
    assert nodes(balance, candidate("a", "n", warm=False), candidate("b", "n", warm=False)) == [B, A], "m, not n"


def test_a_refusal_leaves_one_model_alone_for_as_long_as_it_says_and_no_other() -> None:
    balance, one, other = Balance(), candidate("a"), candidate("b", warm=False)
    for _ in range(20):
        balance.refused_cold(one, now=0.0, retry_after_s=10)
    assert nodes(balance, one, other, now=9.9) == [B, A]
    assert nodes(balance, one, other, now=10.1) == [A, B], "twenty times said, and no longer for that"
    assert nodes(balance, candidate("a", "n"), candidate("b", "n", warm=False), now=0.1) == [A, B]
    assert nodes(balance, newer(one, warm=True), other, now=0.1) == [A, B], "loaded sooner than it thought"
    assert repr(balance) == "<Balance in_flight=0 <Circuits open=0 nodes=0> <Rests nodes=0>>"


@pytest.mark.parametrize(("asked", "rests"), [(0, 1), (None, 1), (5, 5), (100_000, 30)])
def test_how_long_a_node_may_ask_to_be_left_alone_is_bounded(asked: float | None, rests: int) -> None:
    balance, one, other = Balance(), candidate("a"), candidate("b", warm=False)
    balance.refused_cold(one, now=0.0, retry_after_s=asked)
    assert nodes(balance, one, other, now=rests - 0.1) == [B, A]
    assert nodes(balance, one, other, now=rests + 0.1) == [A, B]


def test_a_node_that_is_gone_is_forgotten() -> None:
    balance, one, other = Balance(), candidate("a"), candidate("b", warm=False)
    balance.refused_cold(one, now=0.0, retry_after_s=10)
    balance.forget(A)
    assert nodes(balance, one, other, now=0.1) == [A, B]


@pytest.mark.parametrize("few_are_warm", [True, False])
def test_of_a_crowd_a_request_sees_both_kinds_however_rare_one_is(few_are_warm: bool) -> None:
    crowd = [believed(f"o{n}", f"n{n}", offer("m", "ab", warm=(n < 3) == few_are_warm)) for n in range(2000)]
    directory = Directory(crowd)
    drawn = directory.resolve("m", CHAT, NOW).candidates
    warm = [one for one in drawn if one.offer.warm]
    assert len(drawn) == 64
    assert min(len(warm), 64 - len(warm)) == 3
    assert len({one.node for one in drawn}) == 64
    (item,) = listed(directory)
    assert (item["nodes"], item["warm"]) == (2000, 3 if few_are_warm else 1997)


def test_what_is_kept_of_nodes_is_bounded_also_where_answers_come_after_they_are_gone() -> None:
    balance = Balance(most_nodes=3)
    gone = [candidate(f"gone{number}", warm=False) for number in range(10)]
    for one in gone:
        with carrying(balance, one.node, "m"):
            balance.forget(one.node)
            balance.answered(one, now=0.0)
            balance.failed(one, now=0.0)
        with carrying(balance, one.node, "m"):  # the next try of a request that began before
            balance.answered(one, now=0.0)
    assert len(balance._heard) == len(balance._loads) == 3
    last, first = gone[-1], gone[0]
    assert nodes(balance, first, last, now=1.0) == [last.node, first.node], "the newest are known"
