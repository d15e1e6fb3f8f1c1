"""Models that answer in another one's stead: named by the request or the gateway, before the first byte and after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.misbehaving.words import TEXT, bare, marks, plain
from tests.reliability.cast import FINE, QUICK, Player, Stage, do, staged
from tests.reliability.seen import Seen, chat

DOWN, CUT = do("status", status=500), do("breaks", how="reset", at=9)
SCRIPTS = {
    "down": DOWN, "down-too": DOWN, "cut": CUT, "cut-thrice": CUT, "busy": do("status", status=429, retry_after="60"),
    "wrong": do("status", status=400, code="bad_tools"), "configured": DOWN, "short": do("status", status=400,
    code="context_length_exceeded"), "fine": FINE, "cut-drawn": CUT,
}  # fmt: skip


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Two nodes for each model that fails, and one for the one that does not."""
    players = [
        Player(f"{model}-{number}", {model: [step]}, changes=_changes(model))
        for model, step in SCRIPTS.items()
        for number in ((1, 2) if model != "fine" else (1,))
    ]
    options = (*QUICK, "--fallback", "configured=down,fine")
    async with staged(tmp_path_factory.mktemp("fallback"), players, options) as made:
        yield made


def _changes(model: str) -> dict[str, Any]:
    return {"weights": model.encode().hex()[:8], "context_length": 1024 if model == "short" else 4096}


async def _ask(stage: Stage, *models: str, stream: bool = True, **more: Any) -> Seen:
    return await chat(stage, models[0], stream=stream, extra_body={"models": list(models)}, **more)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("first", ["down", "busy", "short"])
async def test_the_next_model_answers_where_the_first_cannot(stage: Stage, first: str, stream: bool) -> None:
    seen = (await _ask(stage, first, "fine", stream=stream)).is_whole()
    assert seen.text == TEXT
    assert seen.headers["waypost-model"] == "fine"
    assert seen.models == {"fine"}


async def test_they_are_asked_in_their_order(stage: Stage) -> None:
    before = len(stage.lines())
    assert (await _ask(stage, "down-too", "down", "fine")).is_whole().text == TEXT
    asked = [line["model"] for line in stage.lines()[before:] if "body" in line]
    assert asked == sorted(asked, key=["down-too", "down", "fine"].index)
    assert asked[-1] == "fine"


async def test_where_none_can_the_client_is_told(stage: Stage) -> None:
    seen = await _ask(stage, "down", "down-too")
    assert seen.error is not None
    assert seen.headers.get("content-type") == "application/json"


async def test_what_the_client_got_wrong_is_told_by_the_first(stage: Stage) -> None:
    before = stage.tries("fine")
    (await _ask(stage, "wrong", "fine")).is_refused((400, "bad_tools"))
    assert stage.tries("fine") == before


async def test_a_model_that_nobody_has_is_passed_over(stage: Stage) -> None:
    seen = (await _ask(stage, "unheard-of", "fine")).is_whole()
    assert (seen.text, seen.headers["waypost-model"]) == (TEXT, "fine")


async def test_the_gateways_own_fallbacks_come_where_the_request_names_none(stage: Stage) -> None:
    seen = (await chat(stage, "configured")).is_whole()
    assert (seen.text, seen.headers["waypost-model"]) == (TEXT, "fine")
    (await _ask(stage, "configured", "down", stream=False)).is_refused((502, None), (503, "model_unavailable"))


@pytest.mark.parametrize("drawn", [False, True])
async def test_another_model_goes_on_in_the_midst_of_an_answer(stage: Stage, drawn: bool) -> None:
    model = "cut-drawn" if drawn else "cut"
    seen = (await _ask(stage, model, "fine", **({"temperature": 0.9} if drawn else {}))).is_whole()
    if drawn:
        assert bare(seen.text) == plain()
        assert marks(seen.text)[-1] == "fine-1"
    else:
        assert seen.text == TEXT
    assert "resumed by continuing on another node" in seen.joins[-1]
    assert seen.headers["waypost-model"] == model, "it began"


async def test_no_other_model_goes_on_where_none_was_asked_for(stage: Stage) -> None:
    before = stage.tries("fine")
    (await chat(stage, "cut-thrice")).is_broken()
    assert stage.tries("fine") == before
