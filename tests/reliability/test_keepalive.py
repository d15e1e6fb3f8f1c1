"""Comments before the first token: the client's connection stays open, and nothing else is different."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.misbehaving.words import TEXT, bare, plain
from tests.reliability.cast import FINE, SPARE, Player, Stage, do, staged
from tests.reliability.seen import chat

LIMITS = ("--keepalive-s", "1", "--head-s", "4", "--first-token-s", "4", "--gap-s", "4")
DOWN = do("status", status=500, code="oom")
MODELS = {
    "late": {"one": [do("late", seconds=2.2, then=FINE), FINE]},
    "late-and-down": {"one": [do("late", seconds=1.2, then=DOWN)], "spare": [FINE]},
    "late-and-down-alone": {"one": [do("late", seconds=1.2, then=DOWN), FINE]},
    "late-and-cut": {"one": [do("late", seconds=1.2, then=do("breaks", at=9))], "spare": [FINE]},
    "late-and-refused": {"one": [do("late", seconds=1.2, then=do("status", status=400, code="bad_tools")), FINE]},
    "silent": {"one": [do("silent")], "spare": [FINE]},
    "prompt": {"one": [FINE]},
    "comments": {"one": [do("comments", then="go on", count=8), FINE]},
}


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    players = [
        Player(f"{model}.{name}", {model: script}, changes=SPARE if name == "spare" else {})
        for model, nodes in MODELS.items()
        for name, script in nodes.items()
    ]
    async with staged(tmp_path_factory.mktemp("keepalive"), players, LIMITS) as made:
        yield made


async def test_a_late_answer_has_comments_before_it(stage: Stage) -> None:
    seen = (await chat(stage, "late")).is_whole()
    assert (seen.text, len(seen.comments)) == (TEXT, 2)
    assert seen.raw.startswith(": ")
    assert stage.tries("late") == {"late.one": 1}


async def test_a_prompt_answer_has_none(stage: Stage) -> None:
    assert (await chat(stage, "prompt")).is_whole().comments == []


async def test_an_answer_that_is_not_streamed_has_none(stage: Stage) -> None:
    assert (await chat(stage, "late", stream=False)).is_whole().text == TEXT


@pytest.mark.parametrize("model", ["late-and-down", "silent"])
async def test_another_node_answers_behind_the_comments(stage: Stage, model: str) -> None:
    seen = (await chat(stage, model)).is_whole()
    assert seen.text == TEXT
    assert seen.comments
    assert stage.tries(model) == {f"{model}.one": 1, f"{model}.spare": 1}


async def test_a_stream_that_breaks_behind_comments_goes_on(stage: Stage) -> None:
    seen = (await chat(stage, "late-and-cut", temperature=0.9)).is_whole()
    assert bare(seen.text) == plain()


@pytest.mark.parametrize(("model", "code"), [("late-and-down-alone", "oom"), ("late-and-refused", "bad_tools")])
async def test_an_error_behind_comments_is_an_event(stage: Stage, model: str, code: str) -> None:
    seen = (await chat(stage, model)).is_broken()
    assert seen.error is not None
    assert seen.error.code == code
    assert (await chat(stage, model)).is_whole().text == TEXT


async def test_a_nodes_own_comments_pass_too(stage: Stage) -> None:
    assert (await chat(stage, "comments")).is_whole().text == TEXT
