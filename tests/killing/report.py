"""What is told of many rounds: how often which way was taken, and how long the clients waited at the joins.

Not here: a round (rounds).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.killing.rounds import Round


def report(rounds: Sequence[Round], faults: Sequence[str], counted: Mapping[tuple[str, str], int]) -> str:
    """Lines to print. `counted` is by (way, outcome), as the gateway counted them."""
    joins = [join for each in rounds for heard in each.heard for join in heard.joins]
    ways = Counter(join.way for join in joins)
    lines = [
        f"{len(rounds)} rounds, {sum(each.died is not None for each in rounds)} nodes killed, "
        f"{sum(len(each.heard) for each in rounds)} streams, {sum(len(each.broken) for each in rounds)} broken and "
        f"resumed in {len(joins)} joins ({_listed(ways)}), {len(faults)} faults",
        f"a round took {quantile([each.seconds for each in rounds], 0.5):.1f} s, "
        f"at most {max(each.seconds for each in rounds):.1f} s; "
        f"the gateway counted: {_listed({' '.join(labels): count for labels, count in counted.items()})}",
    ]
    for way in (*sorted(ways), "any way"):
        added = [join.added_s for join in joins if way in (join.way, "any way")]
        if added:
            lines.append(f"added pause, {way}: {told(added)}")
    return "\n".join([*lines, *faults])


def unshown(rounds: Sequence[Round], counted: Mapping[tuple[str, str], int]) -> list[str]:
    """Why these rounds would show nothing, or the gateway counts other than what the clients heard."""
    ways = Counter(join.way for each in rounds for heard in each.heard for join in heard.joins)
    found = [f"round {n}: no node died" for n, each in enumerate(rounds, 1) if each.died is None]
    if ways.total() < len(rounds) / 2:  # a node has three streams; near their ends what is left may be under way
        found.append(f"only {ways.total()} streams were resumed in {len(rounds)} rounds")
    for way, count in ways.items():
        if counted.get((way, "whole"), 0) != count:
            found.append(f"clients heard {count} joins by {way}, the gateway counted {counted.get((way, 'whole'), 0)}")
    return found


def told(added_s: Sequence[float]) -> str:
    """The usual, the long and the longest, in milliseconds."""
    shown = (("p50", 0.5), ("p99", 0.99), ("most", 1.0))
    return ", ".join(f"{name} {1000 * quantile(added_s, share):.0f} ms" for name, share in shown)


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
