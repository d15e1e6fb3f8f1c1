"""The section of bench.balance: a row for each policy, its ratios to round-robin, and what others have published.

Not here: measuring.
"""

from __future__ import annotations

import datetime
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from bench.balance_chats import Talk

TITLE = "## Which node is asked"
BASE = "round-robin"
# Gains over round-robin or random, as their authors published them, on GPUs and with prompts of thousands of tokens.
_PEERS = (
    ("SGLang 0.4 router, longest prefix", "throughput up to x1.9, cache hit rate x3.8", "openlm.ai/sglang-v0.4"),
    ("SMG (SGLang Model Gateway), longest prefix", "time to first token -70 to -75 %", "lightseek.org/smg"),
    (
        "llm-d, precise prefix, 8 vLLM on A10G, one long prefix for many",
        "mean time to first token 19.0 s -> 0.86 s, makespan x0.43",
        "andygolubev.com, How llm-d Prefix-Cache Routing Made Qwen 7B on EKS 2.3x Faster",
    ),
    ("llm-d, precise prefix", "responses x57 faster, throughput x2", "llm-d.ai/blog/kvcache-wins-you-can-see"),
    (
        "KubeAI, hash of the prompt's prefix, bounded loads",
        "time to first token -95 %, throughput +127 %",
        "its authors on r/mlops, 1j557uh",
    ),
)


def table(talks: Mapping[str, Sequence[Talk]]) -> str:
    """In Markdown. Of each policy the same number of runs, in the order of the rounds."""
    heads = ("policy", "first token p50, ms", "p99, ms", "prompt tokens read", "of the prompts cached",
             "run, s", "busiest node, x its share")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {policy} | {' | '.join(_cells(runs))} |" for policy, runs in talks.items()]
    return "\n".join(lines)


def ratios(talks: Mapping[str, Sequence[Talk]]) -> str:
    """To the round-robin run of the same round: median (least to most)."""
    measures: tuple[tuple[str, Callable[[Talk], float]], ...] = (
        ("first token, mean", _mean_s), ("of turns after the first, mean", _later_s), ("prompt tokens read", _read),
        ("run", lambda talk: talk.seconds),
    )  # fmt: skip
    lines = [f"| to {BASE} | {' | '.join(name for name, _ in measures)} |", f"|---|{'---:|' * len(measures)}"]
    for policy, runs in talks.items():
        if policy != BASE and BASE in talks:
            cells = [_ratio(runs, talks[BASE], measure) for _, measure in measures]
            lines.append(f"| {policy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def report(tables: Sequence[str], command: str, machine: str, setting: str, versions: str) -> str:
    """The section, which begins with TITLE."""
    now = datetime.datetime.now(datetime.UTC)
    lines = [TITLE, "", f"`{command}`, {now:%Y-%m-%d %H:%M} UTC. {machine}.", "", setting, ""]
    for each in (*tables, peers()):
        lines += [each, ""]
    lines += [f"- {versions}"]
    return "\n".join(lines) + "\n"


def peers() -> str:
    """Beside them what is published: other machines, other loads, other baselines, so orders of magnitude only."""
    lines = ["| published elsewhere, against round-robin or random | gain | by |", "|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in _PEERS])


def _cells(runs: Sequence[Talk]) -> list[str]:
    turns = [turn for run in runs for turn in run.turns]
    first = sorted(1000 * turn.first_s for turn in turns)
    read, cached = sum(turn.read for turn in turns), sum(turn.cached for turn in turns)
    return [
        f"{statistics.median(first):,.0f}", f"{first[int(0.99 * (len(first) - 1))]:,.0f}",
        f"{read / len(runs):,.0f}", f"{100 * cached / (read + cached):.0f} %",
        f"{statistics.median(run.seconds for run in runs):.1f}", f"{statistics.mean(map(_busiest, runs)):.2f}",
    ]  # fmt: skip


def _busiest(talk: Talk) -> float:
    """Turns at the busiest node beside a third of all."""
    counts = Counter(turn.node for turn in talk.turns)
    return 3 * max(counts.values()) / len(talk.turns)


def _mean_s(talk: Talk) -> float:
    return statistics.mean(turn.first_s for turn in talk.turns)


def _later_s(talk: Talk) -> float:
    return statistics.mean(turn.first_s for turn in talk.turns if turn.turn)


def _read(talk: Talk) -> float:
    return sum(turn.read for turn in talk.turns)


def _ratio(runs: Sequence[Talk], base: Sequence[Talk], measure: Callable[[Talk], float]) -> str:
    each = [measure(run) / measure(other) for run, other in zip(runs, base, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
