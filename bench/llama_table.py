"""The table of bench.llama: a column for each number of streams, medians over the runs with least and most.

A pair is a bare run and one through node and gateway, one right after the other; ratios are of the two runs of a pair.
Not here: measuring (llama_run), and what stands around the table (llama_report).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.llama_run import ENGINE, GATEWAY, NODE, Run

_ENOUGH = 3  # pairs, to say anything of a spread


@dataclass(frozen=True)
class Pair:
    bare: Run
    through: Run

    @property
    def ratio(self) -> float:
        """Tokens per second with the two hops, to those without."""
        return self.through.rate / self.bare.rate


Cell = Callable[[Sequence[Pair]], str]


def table(pairs: Mapping[int, Sequence[Pair]]) -> str:
    """In Markdown, by number of streams."""
    lines = [f"| streams at once | {' | '.join(map(str, pairs))} |"]
    lines.append(f"|---|{'---:|' * len(pairs)}")
    lines += [f"| {name} | {' | '.join(cell(found) for found in pairs.values())} |" for name, cell in _ROWS.items()]
    return "\n".join(lines)


def _bare(of: Callable[[Run], float], digits: int) -> Cell:
    return lambda pairs: _spread([of(pair.bare) for pair in pairs], digits)


def _through(of: Callable[[Run], float], digits: int) -> Cell:
    return lambda pairs: _spread([of(pair.through) for pair in pairs], digits)


def _of_pairs(of: Callable[[Pair], float], digits: int) -> Cell:
    return lambda pairs: _spread([of(pair) for pair in pairs], digits)


def _spread(each: Sequence[float], digits: int) -> str:
    shown = [f"{value:,.{digits}f}" for value in (statistics.median(each), min(each), max(each))]
    return shown[0] if len(each) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"


def _to_their_median(pairs: Sequence[Pair]) -> list[float]:
    """The bare runs' own spread: what the engine does with nothing before it."""
    rates = [pair.bare.rate for pair in pairs]
    return [rate / statistics.median(rates) for rate in rates]


def _verdict(pairs: Sequence[Pair]) -> str:
    """Whether the pairs' median lies where the bare runs lie around their own."""
    if len(pairs) < _ENOUGH:
        return f"too few pairs to say ({len(pairs)})"
    own, ratio = _to_their_median(pairs), statistics.median(pair.ratio for pair in pairs)
    if ratio < min(own):
        return "beyond it: slower"
    return "within it" if ratio <= max(own) else "beyond it: faster"


def _slower(pairs: Sequence[Pair]) -> str:
    return f"{sum(pair.ratio < 1 for pair in pairs)} of {len(pairs)}"


_ROWS: Mapping[str, Cell] = {
    "tokens/s of all, bare": _bare(lambda run: run.rate, 1),
    "tokens/s of all, through gateway and node": _through(lambda run: run.rate, 1),
    "**tokens/s, through to bare**": _of_pairs(lambda pair: pair.ratio, 3),
    "bare runs to their median": lambda pairs: _spread(_to_their_median(pairs), 3),
    "the pairs' median, to the bare runs' spread": _verdict,
    "pairs in which it was slower through": _slower,
    "tokens/s of the median stream, bare": _bare(lambda run: run.stream_rate, 1),
    "tokens/s of the median stream, through": _through(lambda run: run.stream_rate, 1),
    "first token, ms, bare": _bare(lambda run: run.first_ms, 1),
    "first token, ms, through": _through(lambda run: run.first_ms, 1),
    "first token later, ms": _of_pairs(lambda pair: pair.through.first_ms - pair.bare.first_ms, 1),
    "CPU of the engine, us a token, bare": _bare(lambda run: run.cpu_us_each(ENGINE), 0),
    "CPU of the engine, us a token, through": _through(lambda run: run.cpu_us_each(ENGINE), 0),
    "CPU of the node, us a token": _through(lambda run: run.cpu_us_each(NODE), 1),
    "CPU of the gateway, us a token": _through(lambda run: run.cpu_us_each(GATEWAY), 1),
    "CPU of both while the engine is asked directly, ms a second": _bare(lambda run: run.hops_ms_s, 1),
    "**CPU of node and gateway, % of the engine's**": _through(lambda run: 100 * run.hops_share, 2),
}
