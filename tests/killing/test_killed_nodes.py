"""kill -9 of a real node in the middle of a 200-token answer, beside eight others: every client gets its whole answer.

WAYPOST_KILLS sets how many nodes die (20; `make kill-test`: 100), WAYPOST_KILL_SEED which moments are chosen (printed).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.killing.caller import Heard
from tests.killing.report import report, unshown
from tests.killing.rounds import TOKENS, Plan, Round, callers, kill_round, uninterrupted
from tests.killing.scale import KILLS, MODEL_SETTINGS, NODES, SEED, limit_s
from tests.killing.scene import scene

pytestmark = pytest.mark.engine


@pytest.mark.timeout(limit_s(KILLS))
async def test_every_answer_comes_whole_though_nodes_are_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"temperature": 0, "seed": 7}
    chance, rounds, faults = random.Random(SEED), [], []
    async with scene(tmp_path, NODES, model=MODEL_SETTINGS) as made, callers(made, settings) as asking:
        whole = await uninterrupted(asking)
        assert not [fault for each in whole if (fault := each.fault(each, TOKENS))], "choose prompts with more to say"
        assert all(each.pieces == TOKENS for each in whole), "a piece is no token"
        for number in range(KILLS):
            rounds.append(await kill_round(made, asking, Plan.random(chance)))
            faults += [f"round {number + 1}, {fault}" for fault in _faults(rounds[-1], whole)]
        counted = await made.resumes()
    faults += unshown(rounds, counted)
    with capsys.disabled():
        print(f"\nWAYPOST_KILL_SEED={SEED}: {report(rounds, faults, counted)}")
    assert not faults


def _faults(done: Round, whole: Sequence[Heard]) -> list[str]:
    """What is wrong with the answers of a round."""
    found = []
    for number, (heard, uncut) in enumerate(zip(done.heard, whole, strict=True)):
        tokens = done.plan.tokens(number)
        fault, text = heard.fault(uncut, tokens), uncut.text_of(tokens)
        replayed = all(join.way == "replay" for join in heard.joins)  # or not broken at all
        if not fault and replayed and heard.text != text:
            fault = f"another text than uninterrupted, from character {_same(heard.text, text)}"
        if fault:
            joins = [f"{join.way} after {len(join.text)} characters" for join in heard.joins]
            found.append(f"{done.plan}, stream {number} (joins: {joins}): {fault}")
    return found


def _same(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
