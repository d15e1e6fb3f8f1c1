"""Streams that break after they have begun: the client's goes on in place, and no word of it is lost or doubled."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.misbehaving.engine import PROMPT
from tests.misbehaving.words import TEXT, bare, count, marks, plain
from tests.reliability.cast import FINE, QUICK, SPARE, Player, Stage, do, staged
from tests.reliability.late_rows import RESUMED, UNUSUAL, WHOLE
from tests.reliability.seen import Seen, chat, completion

PATIENT = "not-done-and-kept-open", "no-usage-and-kept-open"
KINDS = ("chat", "drawn-chat", "completion", "drawn-completion")


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A bad node for each fault, with a model for each kind of request, and a good one for each kind."""
    folder = tmp_path_factory.mktemp("late")
    rows = {**RESUMED, **WHOLE, **UNUSUAL}
    players = [
        Player(name, {f"{name}.{kind}": [step, *([FINE] if name in WHOLE else [])] for kind in KINDS})
        for name, step in rows.items()
    ]
    goods = [Player(f"good-{kind}", {f"{name}.{kind}": [FINE] for name in rows}, changes=SPARE) for kind in KINDS]
    patience = [f"patience-{temperature}" for temperature in (0, 0.9)]
    players.append(Player("patience", {model: [do("comments"), FINE] for model in patience}))
    goods[0].scripts |= {model: [FINE] for model in patience}
    limits = "".join(f'[gateway.limits."{name}.{kind}"]\ngap_s = 600\n' for name in PATIENT for kind in KINDS)
    (folder / "waypost.toml").write_text(limits)
    async with staged(folder, [*players, *goods], (*QUICK, "--config", str(folder / "waypost.toml"))) as made:
        yield made


async def _ask(stage: Stage, model: str, kind: str) -> Seen:
    drawn = {"temperature": 0.9} if kind.startswith("drawn") else {}
    if kind.endswith("chat"):
        return await chat(stage, model, **drawn)
    return await completion(stage, model, PROMPT, **drawn)


def _is_all_there(seen: Seen, kind: str) -> bool:
    return bare(seen.text) == plain() if kind.startswith("drawn") else seen.text == TEXT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RESUMED)
async def test_the_stream_goes_on_elsewhere(stage: Stage, name: str, kind: str) -> None:
    model = f"{name}.{kind}"
    seen = (await _ask(stage, model, kind)).is_whole()
    assert _is_all_there(seen, kind), seen.text
    assert seen.finish == "stop"
    assert seen.headers["waypost-node"] == stage.key_of(name), "who began it"
    assert stage.tries(model) == {name: 1, f"good-{kind}": 1}
    how = "by continuing" if kind.startswith("drawn") else "by replay"
    assert seen.joins == [f"resumed {how} on another node"]
    if kind.startswith("drawn"):
        assert marks(seen.text)[-1] == f"good-{kind}" or name == "reset-at-the-last-token"
    assert seen.usage is not None
    assert seen.usage.total_tokens == seen.usage.prompt_tokens + seen.usage.completion_tokens
    assert seen.usage.completion_tokens == count(seen.text)
    again = (await _ask(stage, model, kind)).is_whole()
    assert _is_all_there(again, kind), again.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WHOLE)
async def test_a_stream_that_lacks_only_its_end_is_finished_promptly(stage: Stage, name: str, kind: str) -> None:
    model = f"{name}.{kind}"
    seen = (await _ask(stage, model, kind)).is_whole()
    assert _is_all_there(seen, kind), seen.text
    assert seen.finish == "stop"
    assert stage.tries(model) == {name: 1}
    assert not seen.joins
    await stage.is_over(name, model)
    again = (await _ask(stage, model, kind)).is_whole()
    assert _is_all_there(again, kind), again.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", UNUSUAL)
async def test_what_is_unusual_is_passed_on(stage: Stage, name: str, kind: str) -> None:
    model = f"{name}.{kind}"
    seen = (await _ask(stage, model, kind)).is_whole()
    assert _is_all_there(seen, kind), seen.text
    assert seen.finish == "stop"
    assert stage.tries(model) == {name: 1}


@pytest.mark.parametrize("temperature", [0, 0.9])
async def test_comments_are_worth_patience_and_not_for_ever(stage: Stage, temperature: float) -> None:
    model = f"patience-{temperature}"
    seen = (await chat(stage, model, temperature=temperature)).is_whole()
    assert seen.text == TEXT or bare(seen.text) == plain()
    assert stage.tries(model) == {"patience": 1, "good-chat": 1}
