"""What the way to choose a node is worth, on modelled nodes: the benchmark's own cases, a few seeds each."""

from __future__ import annotations

import statistics

import pytest

from bench.balance_modelled import Crowd, Outcome, Pace, run
from bench.balance_policies import LeastInFlight, RoundRobin
from gateway.balance import Balance

SEEDS = range(6)
EVEN = (Pace(2, 1.0),) * 3


def of(crowd: Crowd, policy: type[Balance]) -> Outcome:
    outcomes = [run(crowd, lambda _: policy(), seed) for seed in SEEDS]
    return Outcome(*(statistics.mean(column) for column in zip(*outcomes, strict=True)))


@pytest.mark.parametrize(
    ("crowd", "to_turns", "to_least"),
    [
        (Crowd(EVEN, 6), 0.5, 0.6),
        (Crowd(EVEN, 6, alike=True), 0.6, 0.7),
        (Crowd(EVEN, 12), 0.7, 0.9),
        (Crowd((Pace(2, 1.0), Pace(2, 1.0), Pace(2, 0.4)), 6), 0.3, 0.7),
        (Crowd((Pace(1, 1.0), Pace(2, 1.0), Pace(6, 1.0)), 9), 0.3, 0.8),
        (Crowd(EVEN, 6, workers=4), 0.8, 0.9),
    ],
    ids=["few", "few that begin alike", "as many again as slots", "one slow node", "uneven slots", "four workers"],
)
def test_conversations_that_return_have_their_first_token_sooner(
    crowd: Crowd, to_turns: float, to_least: float
) -> None:
    own, turns, least = (of(crowd, policy) for policy in (Balance, RoundRobin, LeastInFlight))
    assert own.mean_s < to_turns * turns.mean_s
    assert own.mean_s < to_least * least.mean_s
    assert own.cached > max(turns.cached, least.cached) + 0.05
    assert own.seconds < 1.2 * least.seconds, "all end as soon, or a little later where slots are no measure of speed"


def test_the_same_seed_gives_the_same() -> None:
    crowd = Crowd(EVEN, 6, workers=2)
    assert run(crowd, lambda _: Balance(), 3) == run(crowd, lambda _: Balance(), 3)
