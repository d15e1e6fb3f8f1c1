"""Which candidate is asked first, and counts that come back to zero. No loop, no socket, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from gateway.balance import Balance
from gateway.groups import Candidate
from relay.errors import TooManyRequests
from tests.gateway.adverts import believed, carrying, node_key, offer

NAMES = ("a", "b", "c")
QUIET = "<Balance in_flight=0 <Circuits open=0 nodes=0> <Rests nodes=0>>"


def candidates(*names: str, explicit: bool = False) -> list[Candidate]:
    return [Candidate(believed("op", name, offer("m"), explicit=explicit), offer("m")) for name in names]


def steady() -> Balance:
    """One that adds nothing at random to the times that it keeps."""
    return Balance(spread=lambda: 0.0)


def nodes(balance: Balance, among: Sequence[Candidate], now: float = 0.0) -> list[str]:
    return [one.node for one in balance.order(among, now)]


def first(balance: Balance, among: Sequence[Candidate], now: float = 0.0) -> str:
    return balance.order(among, now)[0].node


def test_every_candidate_is_ordered_and_none_is_lost() -> None:
    three = candidates(*NAMES)
    assert {one.node for one in Balance().order(three, 0.0)} == {one.node for one in three}
    assert Balance().order([], 0.0) == []


def test_the_least_busy_node_comes_first() -> None:
    balance, three = Balance(), candidates(*NAMES)
    with (
        carrying(balance, node_key("a"), "m"),
        carrying(balance, node_key("a"), "m"),
        carrying(balance, node_key("b"), "m"),
    ):
        assert [one.node for one in balance.order(three, 0.0)] == [node_key(name) for name in ("c", "b", "a")]


def test_many_requests_at_once_are_spread_evenly() -> None:
    balance, three = Balance(), candidates(*NAMES)
    asked: Counter[str] = Counter()
    with ExitStack() as running:
        for _ in range(30):
            node = first(balance, three)
            asked[node] += 1
            running.enter_context(carrying(balance, node, "m"))
        assert balance.in_flight == 30
    assert set(asked.values()) == {10}


def test_requests_one_after_another_take_turns() -> None:
    balance, three = Balance(), candidates(*NAMES)
    turns = []
    for _ in range(6):
        turns.append(first(balance, three))
        with carrying(balance, turns[-1], "m"):
            pass
    assert set(turns[:3]) == set(turns[3:]) == {node_key(name) for name in NAMES}


def test_explicitly_trusted_operators_come_first_even_when_they_are_busier() -> None:
    balance = Balance()
    both = [*candidates("stranger"), *candidates("known", explicit=True)]
    with carrying(balance, node_key("known"), "m"):
        assert first(balance, both) == node_key("known")


def test_a_node_that_failed_comes_last_until_it_has_cooled() -> None:
    balance = Balance()
    both = [*candidates("stranger"), *candidates("known", explicit=True)]
    balance.failed(both[1], now=100.0)
    assert first(balance, both, now=100.5) == node_key("stranger")
    assert balance.order(both, 100.5)[-1].node == node_key("known"), "last, but still to be had"
    assert first(balance, both, now=101.5) == node_key("known")


def test_a_node_that_fails_three_times_in_a_row_is_not_asked_and_then_by_one_at_a_time() -> None:
    balance, two = steady(), candidates("a", "b")
    for _ in range(3):
        balance.failed(two[0], now=0.0)
    assert balance.open_circuits == 1
    assert nodes(balance, two, now=0.9) == [node_key("b")]
    assert nodes(balance, two, now=1.1) == [node_key("a"), node_key("b")]
    assert balance.probe(two[0], now=1.1)
    assert nodes(balance, two, now=1.1) == [node_key("b")], "one is on its way to find out"
    balance.answered(two[0], now=1.2)
    assert balance.open_circuits == 0
    assert not balance.probe(two[0], now=1.2)
    assert len(nodes(balance, two, now=1.2)) == 2


def test_a_node_that_cannot_be_reached_is_asked_for_none_of_its_models() -> None:
    balance, one, other = steady(), candidates("a"), [Candidate(believed("op", "a", offer("n")), offer("n"))]
    balance.unreachable(one[0], now=0.0)
    assert nodes(balance, [*one, *other], now=0.5) == []
    assert balance.opens_at(other[0], now=0.5) == 1.0
    balance.failed(one[0], now=2.0, reached=True)
    assert nodes(balance, other, now=2.0) == [node_key("a")], "it said itself that the other one failed"


def test_a_node_that_answers_is_forgiven_at_once() -> None:
    balance, two = steady(), candidates("a", "b")
    for _ in range(5):
        balance.failed(two[0], now=0.0)
    balance.answered(two[0], now=0.0)
    assert first(balance, two, now=0.1) == node_key("a")
    balance.failed(two[0], now=1.0)
    assert first(balance, two, now=2.1) == node_key("a"), "the first failure again"


@pytest.mark.parametrize(("asked", "rests"), [(10, 10), (0, 1), (10_000, 300)])
def test_a_node_may_ask_to_be_left_alone_with_a_model_for_a_while(asked: int, rests: int) -> None:
    balance, two = steady(), candidates("a", "b")
    other = [Candidate(believed("op", "a", offer("n")), offer("n"))]
    balance.busy(two[0], TooManyRequests("busy", retry_after_s=asked), now=0.0)
    assert nodes(balance, two, now=rests - 0.1) == [node_key("b")]
    assert nodes(balance, other, now=rests - 0.1) == [node_key("a")]
    assert len(nodes(balance, two, now=rests + 0.1)) == 2
    assert balance.open_circuits == 0


def test_a_node_that_does_not_let_the_gateway_in_is_put_aside_and_is_not_ill() -> None:
    balance, two = steady(), candidates("a", "b")
    for _ in range(5):
        balance.refused(two[0], now=0.0)
    assert nodes(balance, two, now=59.0) == [node_key("b")]
    assert len(nodes(balance, two, now=61.0)) == 2
    assert balance.open_circuits == 0


def test_counts_are_zero_afterwards_also_when_requests_fail() -> None:
    balance = Balance()
    with carrying(balance, "x", "m"), carrying(balance, "x", "m"), carrying(balance, "y", "m"):
        assert balance.in_flight == 3
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), carrying(balance, "x", "m"):
            assert balance.in_flight == 1
            raise error
    assert balance.in_flight == 0
    assert repr(balance) == QUIET


def test_nodes_that_are_gone_are_forgotten_but_their_running_requests_are_counted() -> None:
    balance, two = Balance(), candidates("a", "b")
    balance.unreachable(two[0], now=0.0)
    balance.refused(two[0], now=0.0)
    assert balance.take_retry(two[0], now=0.0)
    with carrying(balance, node_key("a"), "m"):
        balance.forget(node_key("a"))
        assert repr(balance) == QUIET.replace("in_flight=0", "in_flight=1")
    assert balance.in_flight == 0
    assert first(balance, two, now=0.1) == node_key("a")
