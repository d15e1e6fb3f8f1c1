"""kill -9 of a real node in the middle of a 200-token answer, beside eight others: every client gets its whole answer.

A replayed answer has to be one that the engine gives uninterrupted. That is nearly always one and the same; an engine
that answers several at once now and then rounds otherwise, to the client of an unbroken stream too, and such a text
counts as well.

WAYPOST_KILLS sets how many nodes die (20; `make kill-test`: 100), WAYPOST_KILL_SEED which moments are chosen (printed).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.killing.caller import Heard
from tests.killing.report import report, unshown
from tests.killing.rounds import TOKENS, Plan, Round, callers, kill_round, uninterrupted
from tests.killing.scale import KILLS, MODEL_SETTINGS, NODES, SEED, limit_s
from tests.killing.scene import scene

pytestmark = pytest.mark.engine


@pytest.mark.timeout(limit_s(KILLS))
async def test_every_answer_comes_whole_though_nodes_are_killed(tmp_path: Path, tell: Callable[[str], None]) -> None:
    settings = {"temperature": 0, "seed": 7}
    chance, rounds, faults = random.Random(SEED), [], []
    async with scene(tmp_path, NODES, model=MODEL_SETTINGS) as made, callers(made, settings) as asking:
        whole = await uninterrupted(asking)
        assert not [fault for each in whole if (fault := each.fault(each, TOKENS))], "choose prompts with more to say"
        assert all(each.pieces == TOKENS for each in whole), "a piece is no token"
        known = [[each] for each in whole]
        for number in range(KILLS):
            rounds.append(await kill_round(made, asking, Plan.random(chance)))
            _learn(rounds[-1], known)
            faults += [f"round {number + 1}, {fault}" for fault in _faults(rounds[-1], known)]
        counted = await made.resumes()
    faults += unshown(rounds, counted)
    tell(f"WAYPOST_KILL_SEED={SEED}: {report(rounds, faults, counted)}")
    tell(f"unbroken answers that the engine gave otherwise than at first: {sum(map(len, known)) - len(known)}")
    assert not faults


def _learn(done: Round, known: Sequence[list[Heard]]) -> None:
    """What unbroken streams said this time, where it was not said before."""
    for number, heard in enumerate(done.heard):
        if not heard.joins and not any(_is(heard, text, done.plan.tokens(number)) for text in known[number]):
            known[number].append(heard)


def _faults(done: Round, known: Sequence[Sequence[Heard]]) -> list[str]:
    """What is wrong with the answers of a round."""
    found = []
    for number, (heard, (uncut, *others)) in enumerate(zip(done.heard, known, strict=True)):
        tokens = done.plan.tokens(number)
        fault = heard.fault(uncut, tokens)
        replayed = all(join.way == "replay" for join in heard.joins)  # or not broken at all
        if not fault and replayed and not any(_is(heard, text, tokens) for text in (uncut, *others)):
            fault = f"another text than uninterrupted, from character {_same(heard.text, uncut.text_of(tokens))}"
        if fault:
            joins = [f"{join.way} after {len(join.text)} characters" for join in heard.joins]
            found.append(f"{done.plan}, stream {number} (joins: {joins}): {fault}")
    return found


def _is(heard: Heard, uncut: Heard, tokens: int) -> bool:
    """Whether it is the text of an uninterrupted answer, which may have been a shorter one."""
    if uncut.pieces < tokens:
        return heard.text.startswith(uncut.text)
    return heard.text == uncut.text_of(tokens)


def _same(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
