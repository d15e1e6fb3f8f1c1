"""The section of bench.resuming: the pause at a join by how long the text so far is, by way, alone and beside others.

Not here: measuring.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

TITLE = "## Resumed streams"


@dataclass(frozen=True)
class Cut:
    """A stream cut after `length` tokens, `load` others beside it. `added_s` is beside a usual gap of that stream,
    `asked_s` how long it took until another node was asked. `equal`: the text is that of the uninterrupted stream."""

    way: str
    length: int
    load: int
    added_s: float
    asked_s: float
    equal: bool

    def __str__(self) -> str:
        """For who watches."""
        return (
            f"{self.way} after {self.length} tokens beside {self.load} streams: {1000 * self.added_s:,.0f} ms, "
            f"text {'as' if self.equal else 'other than'} uninterrupted"
        )


def table(cuts: Sequence[Cut]) -> str:
    """In Markdown: a row for each length, columns by way and load."""
    columns = sorted({(cut.load, cut.way) for cut in cuts}, key=lambda column: (column[1] != "replay", column[0]))
    ways = sorted({cut.way for cut in cuts}, reverse=True)
    heads = [f"{way}, {f'beside {load}' if load else 'alone'}: pause, ms" for load, way in columns]
    heads += [f"{way}: equal to uninterrupted" for way in ways]
    lines = [f"| tokens so far | {' | '.join(heads)} |", f"|---:|{'---:|' * len(heads)}"]
    for length in sorted({cut.length for cut in cuts}):
        those = [cut for cut in cuts if cut.length == length]
        cells = [_pause([cut for cut in those if (cut.load, cut.way) == column]) for column in columns]
        cells += [_equal([cut for cut in those if cut.way == way]) for way in ways]
        lines.append(f"| {length} | {' | '.join(cells)} |")
    return "\n".join(lines)


def own_part(cuts: Sequence[Cut]) -> str:
    """What of the pauses is the gateway's own doing."""
    each = [1000 * cut.asked_s for cut in cuts]
    return f"From the cut until another node is asked: {statistics.median(each):.1f} ms ({_spread(each, 1)})."


def report(table: str, command: str, machine: str, setting: str, own: str, versions: str) -> str:
    """The section, which begins with TITLE."""
    now = datetime.datetime.now(datetime.UTC)
    lines = [
        TITLE, "", f"`{command}`, {now:%Y-%m-%d %H:%M} UTC. {machine}.", "", setting, "", table, "",
        "- The pause is what the client waits longer for the token behind the join than for its stream's usual one.",
        f"- {own} The rest is the engine's: it reads prompt and text so far, and for a replay says the text once more.",
        f"- {versions}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _pause(cuts: Sequence[Cut]) -> str:
    each = [1000 * cut.added_s for cut in cuts]
    return f"{statistics.median(each):,.0f} ({_spread(each, 0)})"


def _spread(each: Sequence[float], digits: int) -> str:
    return f"{min(each):,.{digits}f} to {max(each):,.{digits}f}"


def _equal(cuts: Sequence[Cut]) -> str:
    return f"{sum(cut.equal for cut in cuts)} of {len(cuts)}"
