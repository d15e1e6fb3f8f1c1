"""One llama-server process a model against llama-server's own router: `python -m bench.switching --rounds 3`.

Three models, of which two may be loaded. Rounds by turns, the first of a pair changes; each starts a keeper anew, asks
for the cold third again and again, and weighs and asks the warm ones. Then what breaks is broken. Not here: the two
keepers (keepers), the faults (faults).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import aiohttp

from bench.asking import Door, Request, rounds
from bench.faults import BROKEN, FAULTS, A, B, C
from bench.keepers import Keeper, Processes, Router, preset_of
from bench.streams import WHOLE, Stream, chat, stream
from deploy import demo
from node.engines.llama import Build, find_build

ROUNDS, SWITCHES = 3, 4
MOST = 2  # models that may be loaded
TOKENS = 16  # of an answer after a switch
STREAMS, STREAMED = 8, 48  # streams a round, and tokens of each, for CPU time
SMALL = 300  # small requests a round
DIRECT = "direct"  # the router's process for a model, asked at its own port

Samples = dict[str, list[float]]  # by what was measured
Figures = Mapping[str, Samples]  # by keeper

ROWS = (
    ("cold: first token, s", 2),
    ("cold: whole answer of 16 tokens, s", 2),
    ("warm: first token, s", 3),
    ("memory of all processes, MiB", 0),
    ("memory of the router itself, MiB", 1),
    ("small request: p50, ms", 2),
    ("small request: CPU of the model's process, us", 0),
    ("small request: CPU of the router, us", 0),
    ("streamed token: CPU of the model's process, us", 0),
    ("streamed token: CPU of the router, us", 0),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.switching", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each keeper; 0 leaves the figures out")
    parser.add_argument("--switches", type=int, default=SWITCHES, help="in a round")
    parser.add_argument("--faults", action=argparse.BooleanOptionalAction, default=True, help="break things too")
    logging.getLogger("waypost").setLevel(logging.CRITICAL)  # what is broken here is told below
    asyncio.run(measure(parser.parse_args()))


async def measure(chosen: argparse.Namespace) -> None:
    """Print the figures, then the faults."""
    build = await find_build(None)
    with tempfile.TemporaryDirectory(prefix="waypost-") as name:
        folder = Path(name)
        weights = _copies(folder)
        async with Processes(build, weights, folder, MOST) as first:
            assert (await stream(first, A, 1)).ending == WHOLE
            preset = preset_of(first, A)
        if chosen.rounds:
            figures = await _measured(chosen, lambda: _both(build, weights, preset, folder))
            _print(figures, chosen)
        if chosen.faults:
            for what, fault in FAULTS.items():
                print(f"\n{what}:", flush=True)
                for keeper in _both(build, weights, preset, folder):
                    await _broken(keeper, fault)


def _copies(folder: Path) -> dict[str, Path]:
    """Files of their own, so that no two models share what they map; and half of one."""
    source = Path(str(demo.CHAT.options()["uri"]))
    weights = {model: folder / f"{model}.gguf" for model in (A, B, C, BROKEN)}
    for path in weights.values():
        shutil.copyfile(source, path)
    with weights[BROKEN].open("r+b") as file:
        file.truncate(weights[BROKEN].stat().st_size // 2)
    return weights


def _both(build: Build, weights: Mapping[str, Path], preset: str, folder: Path) -> tuple[Keeper, Keeper]:
    """Nothing runs yet."""
    return Router(build, preset, folder, MOST), Processes(build, weights, folder, MOST)


async def _measured(chosen: argparse.Namespace, make: Callable[[], tuple[Keeper, Keeper]]) -> Figures:
    figures: defaultdict[str, Samples] = defaultdict(lambda: defaultdict(list))
    for number in range(chosen.rounds):
        keepers: Sequence[Keeper] = make()
        for keeper in keepers if number % 2 == 0 else reversed(keepers):
            async with keeper:
                print(f"round {number + 1} of {chosen.rounds}: {keeper.name}", file=sys.stderr, flush=True)
                last = await _switches(keeper, chosen.switches, figures[keeper.name])
                await _costs(keeper, last, figures)
    return figures


async def _switches(keeper: Keeper, count: int, samples: Samples) -> str:
    """Two are loaded, then each time the third of the three is asked for. Returns the model asked last."""
    for model in (A, B):
        await _whole(keeper, model, 1)
    for number in range(count):
        _weigh(keeper, samples)
        model = (C, A, B)[number % 3]
        cold, warm = await _whole(keeper, model, TOKENS), await _whole(keeper, model, 1)
        samples["cold: first token, s"].append(cold.first_s or 0)
        samples[f"cold: whole answer of {TOKENS} tokens, s"].append(cold.whole_s)
        samples["warm: first token, s"].append(warm.first_s or 0)
    return model


async def _whole(keeper: Keeper, model: str, tokens: int) -> Stream:
    seen = await stream(keeper, model, tokens)
    if seen.ending != WHOLE:
        raise SystemExit(f"{keeper.name}: {model}: {seen}")
    return seen


def _weigh(keeper: Keeper, samples: Samples) -> None:
    each = {name: proportional_mib(pid) for name, pid in keeper.pids().items()}
    samples["memory of all processes, MiB"].append(sum(each.values()))
    if keeper.name in each:
        samples["memory of the router itself, MiB"].append(each[keeper.name])


async def _costs(keeper: Keeper, model: str, figures: Mapping[str, Samples]) -> None:
    """A warm model is asked; the router's also at the port that the router gave it."""
    async with (
        keeper.hold(model) as door,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        doors = {keeper.name: door}
        if isinstance(keeper, Router):
            doors[DIRECT] = Door(session, f"http://127.0.0.1:{keeper.port(model)}")
        small = Request("tokenize", {"model": model, "content": "A waypost stands where two roads meet."})
        await _cost(keeper, model, doors, small, SMALL, 1, "small request", figures)
        long = Request("v1/chat/completions", chat(model, STREAMED))
        await _cost(keeper, model, doors, long, STREAMS, STREAMED, "streamed token", figures)


async def _cost(
    keeper: Keeper, model: str, doors: Mapping[str, Door], request: Request, count: int, parts: int, what: str,
    figures: Mapping[str, Samples],
) -> None:  # fmt: skip
    """CPU time of the processes for each of the `parts` that a request has."""
    pids = keeper.pids()
    asked = await rounds([(door, request) for door in doors.values()], list(pids.values()), count, 1, 1)
    for name, seen in zip(doors, asked, strict=True):
        samples = figures[name]
        samples[f"{what}: CPU of the model's process, us"].append(1000 * seen.cpu_ms_each(pids[model]) / parts)
        if name == Router.name:
            samples[f"{what}: CPU of the router, us"].append(1000 * seen.cpu_ms_each(pids[name]) / parts)
        if parts == 1:
            samples[f"{what}: p50, ms"].append(1000 * seen.percentile_s(0.5))


def proportional_mib(pid: int) -> float:
    """Memory of a process: what it shares with others counts as its part of it (Pss)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss")


def _print(figures: Figures, chosen: argparse.Namespace) -> None:
    print(f"\n{chosen.rounds} rounds of each, {chosen.switches} switches in each; median (least-most) of n\n")
    print("| | a process per model | n | router | router to processes | at the router's child |")
    print("|---|---:|---:|---:|---:|---:|")
    for what, digits in ROWS:
        ours, theirs, direct = (figures[name][what] for name in (Processes.name, Router.name, DIRECT))
        ratio = f"{statistics.median(theirs) / statistics.median(ours):.2f}" if ours and statistics.median(ours) else ""
        cells = (_shown(ours, digits), str(len(theirs)), _shown(theirs, digits), ratio, _shown(direct, digits))
        print(f"| {what} | {' | '.join(cells)} |")


def _shown(samples: Sequence[float], digits: int) -> str:
    if not samples:
        return ""
    middle, least, most = statistics.median(samples), min(samples), max(samples)
    return f"{middle:,.{digits}f} ({least:,.{digits}f}-{most:,.{digits}f})"


async def _broken(keeper: Keeper, fault: Callable[[Keeper], Awaitable[str]]) -> None:
    async with keeper:
        print(f"- {keeper.name}: {await fault(keeper)}", flush=True)


if __name__ == "__main__":
    main()
