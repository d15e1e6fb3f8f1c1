"""Which node is asked, by policy: `make bench-balance ARGS="--rounds 5 --write bench/RESULTS.md"`.

Three real nodes with SmolLM2, two slots each, stand behind a gateway for each policy; conversations of several turns go
through one gateway at a time, in rounds whose order is turned each time. All ask the same, but for a word that makes
each run's prompts new. Not here: what is started (balance_scene), who talks (balance_chats), how it is told
(balance_table).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.balance_chats import BadAnswer, Shape, Talk, talk
from bench.balance_policies import POLICIES
from bench.balance_scene import NODES, SLOTS, NotStarted, Scene, scene
from bench.balance_table import ratios, report, table
from bench.relay_ours import version
from bench.relay_report import machine
from bench.results import put

ROUNDS, CHATS, TURNS, THINK_S = 5, 6, 5, 1.0
_STOPPED = 130  # as shells tell it


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.balance", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of each policy")
    parser.add_argument("--chats", type=int, default=CHATS, help="conversations at once")
    parser.add_argument("--turns", type=int, default=TURNS, help="of each conversation")
    parser.add_argument("--think-s", type=float, default=THINK_S, help="between two turns, on average")
    parser.add_argument(
        "--only", type=_policies, default=tuple(POLICIES), metavar="NAME,NAME", help=f"of {', '.join(POLICIES)}"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the section there, in the place of the last one"
    )
    chosen = parser.parse_args()
    _check(chosen)
    try:
        uvloop.run(_until_told(chosen))
    except asyncio.CancelledError:
        _say("bench.balance: stopped; everything that it started has ended")
        raise SystemExit(_STOPPED) from None
    except (BadAnswer, NotStarted) as error:
        raise SystemExit(f"bench.balance: {error}") from None


def _policies(text: str) -> tuple[str, ...]:
    names = set(text.split(","))
    if not names <= POLICIES.keys():
        raise argparse.ArgumentTypeError(f"{text!r} must be some of {','.join(POLICIES)}")
    return tuple(policy for policy in POLICIES if policy in names)


def _check(chosen: argparse.Namespace) -> None:
    """Before minutes have been spent. Raises SystemExit with the fix."""
    if min(chosen.rounds, chosen.chats) < 1:
        raise SystemExit("--rounds and --chats must be at least 1")
    if chosen.turns < 2:
        raise SystemExit("--turns must be at least 2: a first turn has nothing to come back to")
    if chosen.think_s <= 0:
        raise SystemExit("--think-s must be above 0")
    if chosen.write is not None and not chosen.write.absolute().parent.is_dir():
        raise SystemExit(f"--write {chosen.write}: its folder is not there; make it first")


async def _until_told(chosen: argparse.Namespace) -> None:
    """SIGINT and SIGTERM end it, and a second one does not keep it from ending what it started."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, lambda: task.cancelling() or task.cancel())
    await measure(chosen)


async def measure(chosen: argparse.Namespace) -> None:
    """Print the section, once all runs are there."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    shape = Shape(chosen.chats, chosen.turns, chosen.think_s)
    with tempfile.TemporaryDirectory(prefix="bench-balance-") as folder:
        _say(f"starting {NODES} nodes and {len(chosen.only)} gateways")
        async with scene(Path(folder), chosen.only) as made:
            talks = await _talks(made, chosen.only, chosen.rounds, shape)
    told = report(
        (table(talks), ratios(talks)), f"python -m bench.balance {shlex.join(sys.argv[1:])}".strip(), machine(),
        _setting(shape, chosen.rounds, load), f"{version()}; {made.engine}",
    )  # fmt: skip
    print(told, end="")
    if chosen.write is not None:
        put(chosen.write, told)


async def _talks(made: Scene, policies: Sequence[str], rounds: int, shape: Shape) -> dict[str, list[Talk]]:
    talks: dict[str, list[Talk]] = {policy: [] for policy in policies}
    for number in range(rounds):
        turned = number % len(policies)
        for policy in (*policies[turned:], *policies[:turned]):
            found = await talk(made.ports[policy], shape, number, f"{os.urandom(4).hex()}")
            talks[policy].append(found)
            _say(f"round {number + 1}, {policy}: {found}")
    return talks


def _setting(shape: Shape, rounds: int, load: str) -> str:
    return (
        f"{NODES} nodes with {SLOTS} slots each and a thread each; {shape.chats} conversations of {shape.turns} turns, "
        f"{shape.think_s:g} s between two on average, {shape.apps} system prompts of {shape.system_words} words, "
        f"questions of {shape.question_words} words, answers of {shape.answer_tokens} tokens; {rounds} runs of each "
        "policy, by turns. Prompt tokens are those of one run, as the engines count them. "
        f"Load average before it: {load}."
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
