"""The policies of bench.balance on modelled nodes: `python -m bench.balance_model --seeds 30`.

Seconds of arithmetic instead of hours of engines, so that it can be seen what real runs on one machine cannot show:
nodes of unequal speed and slots, several workers, many nodes. The policies are the very classes; a node reads prompts
and says tokens at fixed rates, slower the more it does at once, and has the last conversations in its cache.
Not here: real engines (balance).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.balance_modelled import Crowd, Outcome, Pace, run
from bench.balance_policies import POLICIES, KnownOnly
from bench.balance_speed import LearnedSpeed
from gateway.balance import Balance

_EVEN = (Pace(2, 1.0),) * 3
_SLOW = (Pace(2, 1.0), Pace(2, 1.0), Pace(2, 0.4))
_CASES: Mapping[str, Crowd] = {
    "6 conversations, 3 nodes of 2 slots": Crowd(_EVEN, 6),
    "12 conversations there": Crowd(_EVEN, 12),
    "12 conversations that begin alike": Crowd(_EVEN, 12, alike=True),
    "one node at 0.4 of the speed": Crowd(_SLOW, 6),
    "the same, 12 conversations": Crowd(_SLOW, 12),
    "1, 2 and 6 slots, 9 conversations": Crowd((Pace(1, 1.0), Pace(2, 1.0), Pace(6, 1.0)), 9),
    "4 workers, a new connection each turn": Crowd(_EVEN, 6, workers=4),
    "20 nodes of 4 slots, 60 conversations, 4 workers": Crowd((Pace(4, 1.0),) * 20, 60, workers=4),
}
_BASE = "round-robin"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.balance_model", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each policy in each case")
    chosen = parser.parse_args()
    if chosen.seeds < 1:
        raise SystemExit("--seeds must be at least 1")
    for title, crowd in _CASES.items():
        print(f"\n{title}:\n\n{table(crowd, range(chosen.seeds))}")


def table(crowd: Crowd, seeds: Sequence[int]) -> str:
    """In Markdown: means over the seeds, and what they are of round-robin's."""
    lines = [
        "| policy | first token, mean | p99 | prompts cached | until all have ended |",
        "|---|---:|---:|---:|---:|",
    ]
    found = {name: _mean([run(crowd, make, seed) for seed in seeds]) for name, make in _makers().items()}
    base = found[_BASE]
    for name, one in found.items():
        cells = (
            f"{1000 * one.mean_s:,.0f} ms ({one.mean_s / base.mean_s:.2f})",
            f"{1000 * one.p99_s:,.0f} ms ({one.p99_s / base.p99_s:.2f})",
            f"{100 * one.cached:.0f} %", f"{one.seconds:.0f} s ({one.seconds / base.seconds:.2f})",
        )  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _makers() -> Mapping[str, Callable[[Callable[[], float]], Balance]]:
    makers: dict[str, Callable[[Callable[[], float]], Balance]] = {
        name: lambda _, policy=policy: policy()  # type: ignore[misc]
        for name, policy in POLICIES.items()
    }
    return makers | {"known-question, else in turns": lambda _: KnownOnly(), "the same, learned speed": LearnedSpeed}


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(*(statistics.mean(column) for column in zip(*outcomes, strict=True)))


if __name__ == "__main__":
    main()
