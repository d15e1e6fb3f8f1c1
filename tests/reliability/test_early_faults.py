"""Faults before the first token: another node answers as if nothing had been, or the client is told why none does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from tests.misbehaving.words import TEXT
from tests.reliability.cast import FINE, SPARE, Player, Stage, staged
from tests.reliability.early_rows import AWAY, ELSEWHERE, THE_CLIENTS, Row
from tests.reliability.seen import chat

ROWS = {**ELSEWHERE, **THE_CLIENTS}


def _cases(rows: Mapping[str, Row]) -> list[tuple[str, bool]]:
    return [(name, stream) for name, row in rows.items() for stream in (True, False) if row.streams in (None, stream)]


CASES = _cases(ELSEWHERE)


def _who(name: str, stream: bool) -> str:
    return f"{name}.{'stream' if stream else 'whole'}"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A bad node for each case, which offers one model alone, and one beside a good node."""
    players = [
        Player(who, {f"{who}.shared": [row.step], f"{who}.alone": [row.step, FINE]}, door=row.door)
        for name, stream in _cases(ROWS)
        for who, row in [(_who(name, stream), ROWS[name])]
    ]
    good = Player("good", {f"{player.name}.shared": [FINE] for player in players}, changes=SPARE)
    async with staged(tmp_path_factory.mktemp("early"), [*players, good]) as made:
        yield made


@pytest.mark.parametrize(("name", "stream"), CASES)
async def test_another_node_answers(stage: Stage, name: str, stream: bool) -> None:
    who = _who(name, stream)
    model = f"{who}.shared"
    reached = {who: 1} if ROWS[name].door == "open" else {}
    seen = (await chat(stage, model, stream=stream)).is_whole()
    assert (seen.text, seen.finish) == (TEXT, "stop")
    assert seen.headers["waypost-node"] == stage.key_of("good")
    assert stage.tries(model) == {**reached, "good": 1}
    assert not seen.comments
    again = (await chat(stage, model, stream=stream)).is_whole()
    assert again.text == TEXT
    assert stage.tries(model)["good"] == 2
    assert stage.tries(model).get(who, 0) <= 2


@pytest.mark.parametrize(("name", "stream"), CASES)
async def test_where_no_other_node_is_the_client_is_told(stage: Stage, name: str, stream: bool) -> None:
    who, row = _who(name, stream), ROWS[name]
    model = f"{who}.alone"
    reached = {who: 1} if row.door == "open" else {}
    (await chat(stage, model, stream=stream)).is_refused(row.told(stream), *([AWAY] if row.door != "open" else []))
    assert stage.tries(model) == reached
    again = await chat(stage, model, stream=stream)
    if row.left_alone:
        assert again.error is not None
        assert stage.tries(model) == reached, "nobody hammers it"
    else:
        assert again.is_whole().text == TEXT


@pytest.mark.parametrize(("name", "stream"), _cases(THE_CLIENTS))
async def test_what_the_client_got_wrong_is_told_and_not_tried_again(stage: Stage, name: str, stream: bool) -> None:
    who, row = _who(name, stream), ROWS[name]
    model = f"{who}.shared"
    seen = (await chat(stage, model, stream=stream)).is_refused(row.told(stream))
    assert seen.error is not None
    assert "the node says why" in seen.error.message
    assert seen.headers["waypost-node"] == stage.key_of(who)
    assert stage.tries(model) == {who: 1}
    alone = f"{who}.alone"
    assert (await chat(stage, alone, stream=stream)).error is not None
    assert (await chat(stage, alone, stream=stream)).is_whole().text == TEXT
