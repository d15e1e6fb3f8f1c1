"""A relay's price, side by side with the best: `make bench-relay ARGS="--runs 5 --write bench/RESULTS.md"`.

One synthetic engine, and before it by turns: nothing, nginx, HAProxy, other gateways, and ours. Each run starts each
target afresh, one after the other, so that what else happens on the machine meets all alike. Not here: what is asked
(relay_phases), of whom (relay_targets), and how it is told (relay_table).
"""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from bench import relay_phases as phases
from bench import relay_table as table
from bench import results, stopping
from bench.relay_profile import profile
from bench.relay_programs import NotToBeHad
from bench.relay_report import report
from bench.relay_scene import Scene, scene
from bench.relay_table import Run
from bench.relay_targets import DIRECT, TARGETS, Target

PHASES = {"small": phases.small, "streams": phases.streams, "eager": phases.eager, "crowd": phases.crowd}
_FILES = 16_384  # a crowd's connections on both sides of a target


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.relay", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="each starts every target once")
    parser.add_argument("--only", type=lambda text: text.split(","), help="targets by name: nginx,gateway")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each of a target's four phases")
    parser.add_argument("--quick", action="store_true", help="one short run, a smaller crowd: for a look")
    parser.add_argument("--hold", choices=PHASES, help="put the one target of --only under this load alone, to profile")
    parser.add_argument("--profile", action="store_true", help="where the one target's (gateway's) CPU time goes")
    results.add_option(parser)
    chosen = parser.parse_args()
    _check(chosen)
    gc.disable()  # its pauses would be taken for a target's
    stopping.run("bench.relay", measure(chosen))


async def measure(chosen: argparse.Namespace) -> None:
    """Every chosen target in every run, then the tables."""
    _raise_files()
    targets = [target for target in TARGETS if chosen.only is None or target.name in chosen.only]
    seen = Findings({}, {})
    with tempfile.TemporaryDirectory(prefix="bench-relay-") as folder:
        async with scene(Path(folder)) as made:
            if chosen.profile or chosen.hold is not None:
                return await _hold(targets[0], made, chosen)
            try:
                for number in range(1 if chosen.quick else chosen.runs):
                    for target in targets:
                        await _try(target, made, chosen, number, seen)
            finally:  # a signal leaves what was seen by then
                _tell(targets, seen, chosen.write)
    return None


@dataclass(frozen=True)
class Findings:
    """By target: what was seen in each run, and why one could not be made."""

    runs: dict[str, list[Run]]
    failures: dict[str, str]

    @property
    def notes(self) -> list[str]:
        return [
            f"{name}: {'a run failed' if name in self.runs else 'left out'}: {why}"
            for name, why in self.failures.items()
        ]


async def _try(target: Target, made: Scene, chosen: argparse.Namespace, number: int, seen: Findings) -> None:
    """One that could not be had the first time is not tried again."""
    if target.name in seen.failures and target.name not in seen.runs:
        return
    try:
        run = await _measured(target, made, chosen)
    except (NotToBeHad, subprocess.CalledProcessError) as why:
        seen.failures[target.name] = str(why)
        print(f"run {number + 1}: {target.name}: {why}", file=sys.stderr, flush=True)
    else:
        seen.runs.setdefault(target.name, []).append(run)
        _progress(number, target, run)


def _tell(targets: list[Target], seen: Findings, file: Path | None) -> None:
    tables = f"{table.costs(seen.runs)}\n\n{table.crowds(seen.runs)}"
    runs = max(map(len, seen.runs.values()), default=0)
    told = report(targets, tables, seen.notes, results.command("bench.relay"), runs)
    print(told)
    if file is not None:
        results.put(file, told)


async def _hold(target: Target, made: Scene, chosen: argparse.Namespace) -> None:
    load = replace(target.load, seconds=chosen.seconds)
    try:
        async with target.start(made) as running:
            if chosen.profile:
                print(await profile(running, made.folder, load))
                return
            print(f"{target.name}: process {' '.join(map(str, running.pids))}, {chosen.seconds:.0f} s", flush=True)
            await PHASES[chosen.hold](running.door, running.pids, load)
    except NotToBeHad as why:
        raise SystemExit(f"bench.relay: {target.name}: {why}") from None


async def _measured(target: Target, made: Scene, chosen: argparse.Namespace) -> Run:
    load = replace(target.load, seconds=chosen.seconds)
    load = load.quick() if chosen.quick else load
    async with target.start(made) as running:
        door, pids = running.door, running.pids
        await phases.small(door, pids, replace(load, seconds=0.3))  # to warm up
        crowd = await phases.crowd(door, pids, load)
        small = await phases.small(door, pids, load)
        streams = await phases.streams(door, pids, load)
        return Run(small, streams, await phases.eager(door, pids, load), crowd)


def _progress(number: int, target: Target, run: Run) -> None:
    print(
        f"run {number + 1}: {target.name}: {run.request_us:.1f} us a request, {run.token_us:.1f} us a token, "
        f"{run.crowd.kib_each:.1f} KiB a stream, errors {dict(run.errors)}",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def _check(chosen: argparse.Namespace) -> None:
    """Before half an hour has been spent. Raises SystemExit with the fix."""
    names = [target.name for target in TARGETS]
    if unknown := [name for name in chosen.only or () if name not in names]:
        raise SystemExit(f"--only {','.join(unknown)}: there is no such target; there are {', '.join(names)}")
    if chosen.runs < 1 or chosen.seconds <= 0:
        raise SystemExit("--runs and --seconds must be more than 0")
    if chosen.profile and chosen.only is None:
        chosen.only = ["gateway"]
    if chosen.profile and chosen.hold is not None:
        raise SystemExit("--hold is for a profiler of your own; --profile brings its load along")
    if chosen.hold is not None and len(chosen.only or ()) != 1:
        raise SystemExit("--hold needs --only with one target")
    if chosen.profile and (len(chosen.only) != 1 or chosen.only == [DIRECT]):
        raise SystemExit("--profile needs --only with one target that is a program")
    if chosen.write is not None and (chosen.profile or chosen.hold):
        raise SystemExit("--write is for the tables of whole runs; --profile prints its own, and --hold none")


def _raise_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < _FILES:
        print(f"ulimit -Hn is {hard}: a crowd of 5,000 takes {_FILES}, so expect errors in it", file=sys.stderr)
    files = _FILES if hard < 0 else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


if __name__ == "__main__":
    main()
