"""Nodes that are busy, that come and go, or whose context is too small: asked as often as does good, and no oftener."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.misbehaving.words import TEXT
from tests.reliability.cast import FINE, SPARE, Player, Stage, do, staged
from tests.reliability.early_rows import AWAY
from tests.reliability.seen import chat

SOON = do("status", status=429, code="busy", retry_after="1")
LATER = do("status", status=429, code="busy", retry_after="60")
LOADING = do("status", status=503, code="loading", retry_after="1")
DOWN = do("status", status=500)
BREAKS = do("breaks", how="reset", at=9)
TOO_LONG = do("status", status=400, code="context_length_exceeded")
SMALL, LARGE = {"context_length": 4096}, {"context_length": 32768}
MODELS = {
    "soon": {"one": [SOON, FINE]},
    "soon-both": {"one": [SOON, FINE], "two": [LATER]},
    "loading": {"one": [LOADING, FINE]},
    "always-soon": {"one": [SOON]},
    "later": {"one": [LATER]},
    "later-beside": {"one": [LATER], "spare": [FINE]},
    "down": {"one": [DOWN, DOWN, DOWN, FINE]},
    "dying": {"one": [BREAKS], "spare": [FINE]},
    "long": {"small-1": [TOO_LONG], "small-2": [TOO_LONG], "large": [FINE]},
    "long-everywhere": {"small-1": [TOO_LONG], "small-2": [TOO_LONG]},
    "kept": {"one": [FINE, do("reset"), FINE]},
    "kept-and-closed": {"one": [FINE, do("closed"), FINE]},
}
ROUND = {"flapping": [DOWN, FINE], "flapping-streams": [BREAKS, FINE]}


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    players = [
        Player(f"{model}.{name}", {model: script}, changes=_changes(name))
        for model, nodes in MODELS.items()
        for name, script in nodes.items()
    ]
    for model, script in ROUND.items():
        players.append(Player(f"{model}.one", {model: script}, goes_round=True))
        players.append(Player(f"{model}.spare", {model: [FINE]}, changes=SPARE))
    async with staged(tmp_path_factory.mktemp("busy"), players) as made:
        yield made


def _changes(name: str) -> dict[str, object]:
    return {"spare": SPARE, "large": LARGE | SPARE, "small-1": SMALL, "small-2": SMALL}.get(name, {})


def _tries(stage: Stage, model: str) -> dict[str, int]:
    return {name.rpartition(".")[2]: tries for name, tries in stage.tries(model).items()}


@pytest.mark.parametrize("stream", [True, False])
async def test_who_says_soon_is_waited_for(stage: Stage, stream: bool) -> None:
    model = "soon" if stream else "loading"
    seen = (await chat(stage, model, stream=stream)).is_whole()
    assert seen.text == TEXT
    assert _tries(stage, model) == {"one": 2}


async def test_the_soonest_is_waited_for(stage: Stage) -> None:
    assert (await chat(stage, "soon-both")).is_whole().text == TEXT
    assert _tries(stage, "soon-both") == {"one": 2, "two": 1}


async def test_who_always_says_soon_is_not_waited_for_for_ever(stage: Stage) -> None:
    seen = (await chat(stage, "always-soon")).is_refused((429, "busy"))
    assert int(seen.headers["retry-after"]) >= 1
    assert _tries(stage, "always-soon") == {"one": 3}, "asked, and after each of two waits"


async def test_who_says_later_is_left_alone_by_everybody(stage: Stage) -> None:
    for _ in range(3):
        seen = (await chat(stage, "later")).is_refused((429, "busy"))
        assert 50 <= int(seen.headers["retry-after"]) <= 60
    assert _tries(stage, "later") == {"one": 1}


async def test_who_says_later_is_left_alone_where_another_is_there(stage: Stage) -> None:
    for _ in range(3):
        assert (await chat(stage, "later-beside")).is_whole().text == TEXT
    assert _tries(stage, "later-beside") == {"one": 1, "spare": 3}


async def test_a_node_that_is_down_is_not_hammered_and_taken_back_when_it_is_up(stage: Stage) -> None:
    for _ in range(3):
        (await chat(stage, "down")).is_refused((502, None))
    seen = (await chat(stage, "down")).is_refused(AWAY)
    assert int(seen.headers["retry-after"]) >= 1
    assert _tries(stage, "down") == {"one": 3}, "it was not asked again at once"
    async with stage.patience():
        while (await chat(stage, "down")).error is not None:
            pass
    assert (await chat(stage, "down")).is_whole().text == TEXT
    assert _tries(stage, "down") == {"one": 5}


async def test_streams_that_die_on_a_node_keep_others_from_it(stage: Stage) -> None:
    for _ in range(8):
        assert (await chat(stage, "dying")).is_whole().text == TEXT
    assert _tries(stage, "dying")["one"] <= 4


@pytest.mark.parametrize("model", ROUND)
async def test_a_node_that_fails_every_other_time_is_no_matter(stage: Stage, model: str) -> None:
    for _ in range(12):
        assert (await chat(stage, model)).is_whole().text == TEXT


async def test_what_is_too_long_goes_to_a_larger_context_alone(stage: Stage) -> None:
    assert (await chat(stage, "long")).is_whole().text == TEXT
    assert _tries(stage, "long") == {"small-1": 1, "large": 1}


async def test_what_is_too_long_everywhere_is_told(stage: Stage) -> None:
    seen = (await chat(stage, "long-everywhere")).is_refused((400, "context_length_exceeded"))
    assert seen.error is not None
    assert "the node says why" in seen.error.message
    assert _tries(stage, "long-everywhere") == {"small-1": 1}


@pytest.mark.parametrize("model", ["kept", "kept-and-closed"])
async def test_a_kept_connection_that_is_gone_is_nobodys_failure(stage: Stage, model: str) -> None:
    for _ in range(2):
        assert (await chat(stage, model, stream=False)).is_whole().text == TEXT
    assert _tries(stage, model) == {"one": 3}
