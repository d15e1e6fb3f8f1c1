"""A real engine with and without the two hops: `make bench-llama ARGS="--pairs 5 --write bench/RESULTS.md"`.

One llama-server with SmolLM2, supervised by a node behind a gateway, is asked by turns at its own socket and through
both. Runs come in pairs whose order is swapped each time, so that what else the machine does meets both alike; all runs
ask the same. Not here: what is started (llama_scene), a run (llama_run), how it is told (llama_table, llama_report).
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import results, stopping
from bench.llama_client import BadStream, Door
from bench.llama_report import report
from bench.llama_run import ENGINE, GATEWAY, NODE, Run, run
from bench.llama_scene import NotStarted, Scene, scene
from bench.llama_table import Pair, table
from bench.relay_ours import version
from bench.relay_report import machine

PAIRS, STREAMS, TOKENS = 5, (1, 8, 16), 256
_MOST_STREAMS = 256  # slots that a node gives a model
_LEAST_TOKENS = _WARM_TOKENS = 16


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.llama", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of runs, for each number of streams")
    parser.add_argument("--streams", type=_counts, default=STREAMS, metavar="N,N", help="that begin at once: 1,8,16")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of each stream")
    results.add_option(parser)
    chosen = parser.parse_args()
    _check(chosen)
    gc.disable()  # its pauses would be taken for a hop's
    try:
        stopping.run("bench.llama", measure(chosen))
    except (BadStream, NotStarted) as error:
        raise SystemExit(f"bench.llama: {error}") from None


def _counts(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() and 1 <= int(word) <= _MOST_STREAMS for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers from 1 to {_MOST_STREAMS}, such as 1,8,16")
    return tuple(sorted({int(word) for word in words}))


def _check(chosen: argparse.Namespace) -> None:
    """Before minutes have been spent. Raises SystemExit with the fix."""
    if chosen.pairs < 1:
        raise SystemExit("--pairs must be at least 1")
    if chosen.tokens < _LEAST_TOKENS:
        raise SystemExit(
            f"--tokens must be at least {_LEAST_TOKENS}: a stream's rate is counted from its first token on"
        )


async def measure(chosen: argparse.Namespace) -> None:
    """Print the section, once all pairs are there."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    with tempfile.TemporaryDirectory(prefix="bench-llama-") as folder:
        _say("starting node and gateway")
        async with scene(Path(folder), max(chosen.streams)) as made:
            pairs = await _pairs(made, chosen)
    told = report(
        table(pairs), results.command("bench.llama"), machine(), _setting(chosen, load),
        made.shown(), f"{version()}; {made.engine}",
    )  # fmt: skip
    print(told, end="")
    if chosen.write is not None:
        results.put(chosen.write, told)


async def _pairs(made: Scene, chosen: argparse.Namespace) -> Mapping[int, Sequence[Pair]]:
    pairs: dict[int, list[Pair]] = {count: [] for count in chosen.streams}
    for door in (made.bare, made.through):
        await run(door, made.pids, max(chosen.streams), _WARM_TOKENS)
    for number in range(chosen.pairs):
        for count in chosen.streams:
            pairs[count].append(await _pair(made, number, count, chosen.tokens))
    return pairs


async def _pair(made: Scene, number: int, streams: int, tokens: int) -> Pair:
    """The bare run first, and in the next pair the other."""
    doors: list[tuple[str, Door]] = [("bare", made.bare), ("through", made.through)]
    runs: dict[str, Run] = {}
    for name, door in doors if number % 2 == 0 else reversed(doors):
        found = runs[name] = await run(door, made.pids, streams, tokens)
        cpu = ", ".join(f"{process} {1000 * found.cpu_s[process]:,.1f}" for process in (ENGINE, NODE, GATEWAY))
        _say(
            f"pair {number + 1}, {streams} streams, {name}: {found.rate:.1f} tokens/s, first after "
            f"{found.first_ms:.1f} ms, CPU ms: {cpu}"
        )
    return Pair(**runs)


def _setting(chosen: argparse.Namespace, load: str) -> str:
    return (
        f"{chosen.pairs} pairs of runs for each number of streams, {chosen.tokens} tokens a stream, temperature 0; "
        "median (least to most). The bare engine is the process that the node supervises, asked at its own socket. "
        f"Load average before it: {load}."
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
