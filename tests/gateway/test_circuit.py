"""When a circuit opens, who may probe it, and when it closes. No loop, no socket, no clock."""

from __future__ import annotations

import pytest

from gateway.circuit import Circuits


def steady(most_nodes: int = 10_000) -> Circuits:
    """Adds nothing at random to the times."""
    return Circuits(spread=lambda: 0.0, most_nodes=most_nodes)


def opened(now: float = 0.0) -> Circuits:
    """Of model m at node a, by a streak."""
    circuits = steady()
    for _ in range(3):
        circuits.failed("a", "m", now)
    assert circuits.open_count == 1
    return circuits


def test_what_never_failed_is_let_in_and_costs_nothing() -> None:
    circuits = steady()
    assert circuits.lets_in("a", "m", 0.0)
    assert not circuits.is_shaky("a", "m", 0.0)
    assert not circuits.probe("a", "m", 0.0)
    circuits.answered("a", "m", 0.0)
    circuits.abandoned("a", "m", 0.0)
    circuits.reached("a")
    assert (circuits.nodes, circuits.opens_at("a", "m", 0.0)) == ({}, 0.0)


def test_a_single_failure_makes_a_node_shaky_for_a_second_and_opens_nothing() -> None:
    circuits = steady()
    circuits.failed("a", "m", 10.0)
    assert circuits.is_shaky("a", "m", 10.9)
    assert not circuits.is_shaky("a", "m", 11.1)
    assert not circuits.is_shaky("a", "n", 10.1), "of its other models nothing is known"
    assert circuits.lets_in("a", "m", 10.1)


def test_a_streak_opens_and_an_answer_in_between_ends_the_streak() -> None:
    circuits = steady()
    for _ in range(10):
        circuits.failed("a", "m", 0.0)
        circuits.failed("a", "m", 0.0)
        circuits.answered("a", "m", 0.0)
    assert circuits.open_count == 0
    assert circuits.nodes == {}
    circuits = opened()
    assert not circuits.lets_in("a", "m", 0.9)
    assert circuits.lets_in("a", "n", 0.9)
    assert circuits.lets_in("b", "m", 0.9)


def test_one_request_at_a_time_is_the_probe_and_closes_what_it_finds_well() -> None:
    circuits = opened()
    assert not circuits.probe("a", "m", 0.5), "nobody was let in"
    assert circuits.lets_in("a", "m", 1.0)
    assert circuits.probe("a", "m", 1.0)
    assert not circuits.lets_in("a", "m", 1.0)
    assert not circuits.probe("a", "m", 1.0)
    circuits.answered("a", "m", 1.5)
    assert circuits.nodes == {}
    assert circuits.lets_in("a", "m", 1.5)


def test_each_probe_that_fails_keeps_it_open_for_twice_as_long_within_a_bound() -> None:
    circuits, now, spans = opened(), 0.0, []
    for _ in range(8):
        spans.append(circuits.opens_at("a", "m", now) - now)
        now += spans[-1]
        assert circuits.probe("a", "m", now)
        circuits.failed("a", "m", now)
    assert spans == [1, 2, 4, 8, 16, 30, 30, 30]


def test_failures_that_were_under_way_when_it_opened_do_not_keep_it_open_for_longer() -> None:
    circuits = opened()
    for _ in range(50):
        circuits.failed("a", "m", 0.8)
        circuits.unreachable("b", 0.8)
        circuits.died("a", "m", 0.8)
    assert circuits.opens_at("a", "m", 0.8) == 1.0
    assert circuits.opens_at("b", "m", 0.8) == 1.8


def test_a_probe_without_a_verdict_leaves_the_next_request_to_find_out() -> None:
    circuits = opened()
    assert circuits.probe("a", "m", 1.0)
    circuits.abandoned("a", "m", 2.0)
    assert circuits.open_count == 1
    assert circuits.lets_in("a", "m", 2.0)
    assert circuits.probe("a", "m", 2.0)


def test_a_probe_that_takes_long_holds_up_nobody_for_ever() -> None:
    circuits = opened()
    assert circuits.probe("a", "m", 1.0)
    assert not circuits.lets_in("a", "m", 30.9)
    assert circuits.lets_in("a", "m", 31.1)
    assert circuits.probe("a", "m", 31.1)
    assert not circuits.lets_in("a", "m", 31.2)


def test_a_connection_that_cannot_be_made_closes_the_whole_node_at_once() -> None:
    circuits = steady()
    circuits.unreachable("a", 0.0)
    assert [circuits.lets_in("a", model, 0.5) for model in "mn"] == [False, False]
    assert list(circuits.unreachable_nodes()) == ["a"]
    assert circuits.probe("a", "n", 1.0)
    assert not circuits.lets_in("a", "m", 1.0), "one probe for the node"
    circuits.failed("a", "n", 1.5)
    assert not circuits.lets_in("a", "m", 3.4), "silence is no sign of life"
    assert circuits.lets_in("a", "m", 3.6)
    circuits.reached("a")
    assert circuits.lets_in("a", "m", 1.6)
    assert list(circuits.unreachable_nodes()) == []


def test_two_streams_that_die_within_a_minute_open_it_and_two_in_an_hour_do_not() -> None:
    circuits = steady()
    for now in (0.0, 61.0, 122.0):
        circuits.died("a", "m", now)
        assert circuits.lets_in("a", "m", now)
        assert circuits.is_shaky("a", "m", now)
    circuits.died("a", "m", 150.0)
    assert not circuits.lets_in("a", "m", 150.5)


def test_to_begin_well_is_not_enough_for_who_just_let_streams_die() -> None:
    """The doubling goes on, though each probe was answered, until a minute has passed without a death."""
    circuits, now, spans = steady(), 0.0, []
    circuits.died("a", "m", now)
    for _ in range(4):
        circuits.died("a", "m", now)
        spans.append(circuits.opens_at("a", "m", now) - now)
        now += spans[-1]
        circuits.answered("a", "m", now - 0.1)
        assert not circuits.lets_in("a", "m", now - 0.1), "that one was sent before"
        assert circuits.probe("a", "m", now)
        circuits.answered("a", "m", now)
        assert circuits.open_count == 0
    assert spans == [1, 2, 4, 8]
    circuits.answered("a", "m", now + 61)
    assert circuits.nodes == {}


def test_chance_makes_a_circuit_open_for_a_little_longer() -> None:
    circuits = Circuits(spread=lambda: 1.0)
    circuits.unreachable("a", 0.0)
    assert circuits.opens_at("a", "m", 0.0) == 1.25


def test_while_a_probe_is_on_its_way_it_may_be_over_at_any_moment() -> None:
    circuits = opened()
    circuits.probe("a", "m", 5.0)
    assert circuits.opens_at("a", "m", 6.0) == 6.0


def test_who_has_nowhere_else_to_go_may_go_beside_a_probe_and_not_before() -> None:
    circuits = opened()
    assert not circuits.lets_in("a", "m", 0.5, eager=True)
    circuits.probe("a", "m", 1.0)
    assert circuits.lets_in("a", "m", 1.1, eager=True)
    assert not circuits.lets_in("a", "m", 1.1)
    assert circuits.is_shaky("a", "m", 1.1)
    assert not circuits.probe("a", "m", 1.1), "it is none itself"


def test_who_is_gone_is_forgotten_and_what_is_kept_is_bounded() -> None:
    circuits = steady(most_nodes=3)
    for number in range(10):
        circuits.unreachable(f"n{number}", 0.0)
    assert list(circuits.nodes) == ["n7", "n8", "n9"]
    circuits.forget("n8")
    circuits.forget("nobody")
    assert repr(circuits) == "<Circuits open=2 nodes=2>"


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_a_success_leaves_nothing_behind(failures: int) -> None:
    circuits = steady()
    for _ in range(failures):
        circuits.failed("a", "m", 0.0)
        circuits.unreachable("a", 0.0)
    circuits.answered("a", "m", 9.0)
    assert circuits.nodes == {}
