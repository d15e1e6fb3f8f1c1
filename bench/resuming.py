"""A broken stream resumed by replay, and by continuing: `make bench-resuming ARGS="--write bench/RESULTS.md"`.

Two real nodes with SmolLM2 stand behind two gateways, one of which resumes by replay and the other by continuing. A
stream is cut between gateway and node once its text is so long, alone or beside others; what the client waits for then
is the pause. Runs go by turns. Not here: what is started (resuming_scene), how it is told (resuming_table).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import results, stopping
from bench.relay_ours import version
from bench.relay_report import machine
from bench.resuming_scene import WAYS, NotResumed, Scene, beside, scene
from bench.resuming_table import Cut, own_part, report, table

ROUNDS, LENGTHS, BESIDE = 5, (20, 50, 100, 200, 400), (0, 4)
_MOST_LENGTH, _MOST_BESIDE = 600, 6


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.resuming", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="cuts for each length, load and way")
    parser.add_argument("--lengths", type=_numbers, default=LENGTHS, metavar="N,N", help="tokens so far: 20,50,100")
    parser.add_argument("--beside", type=_numbers, default=BESIDE, metavar="N,N", help="streams beside it: 0,4")
    results.add_option(parser)
    chosen = parser.parse_args()
    _check(chosen)
    try:
        stopping.run("bench.resuming", measure(chosen))
    except (NotResumed, AssertionError) as error:
        raise SystemExit(f"bench.resuming: {error}") from None


def _numbers(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers, such as 20,50,100")
    return tuple(sorted({int(word) for word in words}))


def _check(chosen: argparse.Namespace) -> None:
    """Before minutes have been spent. Raises SystemExit with the fix."""
    if chosen.rounds < 1:
        raise SystemExit("--rounds must be at least 1")
    if not 2 <= chosen.lengths[0] <= chosen.lengths[-1] <= _MOST_LENGTH:
        raise SystemExit(f"--lengths must be from 2 to {_MOST_LENGTH} tokens: a slot has room for no more")
    if chosen.beside[-1] > _MOST_BESIDE:
        raise SystemExit(f"--beside must be at most {_MOST_BESIDE}, so that no stream waits for a slot")


async def measure(chosen: argparse.Namespace) -> None:
    """Print the section, once all cuts are there."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    with tempfile.TemporaryDirectory(prefix="bench-resuming-") as folder:
        _say("starting two nodes and two gateways")
        async with scene(Path(folder), chosen.rounds, chosen.lengths[-1]) as made:
            cuts = await _cuts(made, chosen.rounds, chosen.lengths, chosen.beside)
    setting = f"{chosen.rounds} cuts for each figure, by turns; median (least to most). Load average before it: {load}."
    command = results.command("bench.resuming")
    told = report(table(cuts), command, machine(), setting, own_part(cuts), f"{version()}; {made.engine}")
    print(told, end="")
    if chosen.write is not None:
        results.put(chosen.write, told)


async def _cuts(made: Scene, rounds: int, lengths: Sequence[int], loads: Sequence[int]) -> list[Cut]:
    found = []
    for number in range(rounds):
        for load in loads:
            async with beside(made, load):
                for length in lengths:
                    for way in WAYS if number % 2 == 0 else reversed(WAYS):
                        found.append(await made.cut(way, number, length, load))
                        _say(f"round {number + 1}, {found[-1]}")
    return found


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
