"""kill -9 of a real node in the middle of answers that are drawn at random, so that no second one is the same.

They come whole, and at the join no text is doubled or lost: what passed between gateway and nodes is held against what
the client heard. A quarter of the rounds of test_killed_nodes; the same variables.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.killing import seams
from tests.killing.report import report, unshown
from tests.killing.rounds import PROMPTS, Plan, Round, callers, kill_round
from tests.killing.scale import KILLS, MODEL_SETTINGS, NODES, SEED, limit_s
from tests.killing.scene import Scene, scene

pytestmark = pytest.mark.engine
ROUNDS = max(1, KILLS // 4)


@pytest.mark.timeout(limit_s(ROUNDS))
async def test_what_is_drawn_at_random_goes_on_without_a_seam(tmp_path: Path, tell: Callable[[str], None]) -> None:
    settings = {"temperature": 0.8, "extra_body": {"ignore_eos": True}}
    chance, rounds, faults = random.Random(SEED), [], []
    async with (
        scene(tmp_path, NODES, model=MODEL_SETTINGS, crossed=True) as made,
        callers(made, settings) as asking,
    ):
        for number in range(ROUNDS):
            made.forget()
            rounds.append(await kill_round(made, asking, Plan.random(chance)))
            faults += [f"round {number + 1}, {fault}" for fault in _faults(made, rounds[-1])]
        counted = await made.resumes()
    faults += unshown(rounds, counted)
    tell(f"drawn at random, WAYPOST_KILL_SEED={SEED}: {report(rounds, faults, counted)}")
    assert not faults


def _faults(made: Scene, done: Round) -> list[str]:
    found = []
    for number, heard in enumerate(done.heard):
        fault = heard.fault(None, done.plan.tokens(number))
        if not fault and heard.joins:
            fault = seams.fault(heard, seams.passed(made.hosts, PROMPTS[number]))
        if fault:
            found.append(f"{done.plan}, stream {number}: {fault}")
    return found
