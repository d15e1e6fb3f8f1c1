"""Tables of what bench.relay has seen: medians over the runs, and ratios to nginx in the same run.

Targets with TLS are held against nginx with TLS.

Not here: measuring (relay_phases).
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.relay_phases import Crowd, Seen
from bench.relay_targets import DIRECT, TARGETS


@dataclass(frozen=True)
class Run:
    """One target in one run."""

    small: Seen
    streams: Seen
    eager: Seen
    crowd: Crowd

    @property
    def request_us(self) -> float:
        return self.small.cpu_us_each(self.small.tally.answers)

    @property
    def token_us(self) -> float:
        return self.streams.cpu_us_each(self.streams.tally.tokens)

    @property
    def requests_s(self) -> float:
        return self.small.tally.answers / self.small.seconds

    @property
    def tokens_s(self) -> float:
        return self.eager.tally.tokens / self.eager.seconds

    def first_ms(self, share: float) -> float:
        each = sorted(self.streams.tally.first_s)
        return 1000 * each[min(len(each) - 1, int(share * len(each)))] if each else float("nan")

    @property
    def errors(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for seen in (self.small, self.streams, self.eager, self.crowd.seen):
            found.update(seen.tally.errors)
        return found


Runs = Mapping[str, Sequence[Run]]
_HEAD = (
    "| | CPU us a request | to nginx | CPU us a token | to nginx | first token later, ms: p50 | p99 | requests/s "
    "| tokens/s | KiB a stream | errors |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
)
_CROWD_HEAD = (
    "| | streams | tokens in the window: least | median | most | longest wait, s | CPU us a token | KiB a stream "
    "| errors |\n|---|---:|---:|---:|---:|---:|---:|---:|---|"
)


def costs(runs: Runs) -> str:
    """The main table, a line a target."""
    lines = [_HEAD]
    for name, found in runs.items():
        cells = [
            _spread([run.request_us for run in found]), _ratio(runs, name, lambda run: run.request_us),
            _spread([run.token_us for run in found]), _ratio(runs, name, lambda run: run.token_us),
            _later(runs, name, 0.5), _later(runs, name, 0.99),
            f"{statistics.median(run.requests_s for run in found):,.0f}",
            f"{statistics.median(run.tokens_s for run in found):,.0f}",
            f"{statistics.median(run.crowd.kib_each for run in found):.1f}", _errors(found),
        ]  # fmt: skip
        if name == DIRECT:
            cells[0:6] = ["", "", "", "", *(f"({_first(found, share):.2f})" for share in (0.5, 0.99))]
            cells[8] = ""
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def crowds(runs: Runs) -> str:
    """How fairly a crowd of slow streams is served: the worst of all runs, but for the medians."""
    lines = [_CROWD_HEAD]
    for name, found in runs.items():
        each = [run.crowd for run in found]
        cpu = statistics.median(one.seen.cpu_us_each(one.seen.tally.tokens) for one in each)
        errors = sum((Counter(one.seen.tally.errors) for one in each), Counter[str]())
        cells = [
            f"{min(one.streams for one in each):,}", str(min(one.least for one in each)),
            f"{statistics.median(one.median for one in each):.0f}", str(max(one.most for one in each)),
            f"{max(one.gap_s for one in each):.2f}", f"{cpu:.1f}" if name != DIRECT else "",
            f"{statistics.median(one.kib_each for one in each):.1f}" if name != DIRECT else "", _told(errors),
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(each: Sequence[float]) -> str:
    """Median, and from where to where."""
    middle = statistics.median(each)
    digits = 1 if middle < 100 else 0
    return f"{middle:,.{digits}f} ({min(each):,.{digits}f}-{max(each):,.{digits}f})"


def _ratio(runs: Runs, name: str, of: Callable[[Run], float]) -> str:
    """Of the same run, so that what disturbs the machine disturbs both."""
    against = next(target.against for target in TARGETS if target.name == name)
    if against not in runs:
        return ""
    pairs = zip(runs[name], runs[against], strict=False)
    return f"{statistics.median(of(run) / of(nginx) for run, nginx in pairs):.2f}"


def _later(runs: Runs, name: str, share: float) -> str:
    """Than without a hop."""
    first = _first(runs[name], share)
    return f"{first - _first(runs[DIRECT], share):.2f}" if DIRECT in runs else f"({first:.2f})"


def _first(found: Sequence[Run], share: float) -> float:
    """Milliseconds to the first token, the median run's: a hiccup of the machine is in the p99 of one run alone."""
    return statistics.median(run.first_ms(share) for run in found)


def _errors(found: Sequence[Run]) -> str:
    return _told(sum((run.errors for run in found), Counter[str]()))


def _told(errors: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in errors.items()) or "0"
