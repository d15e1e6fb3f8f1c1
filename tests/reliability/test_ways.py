"""Nodes that do not go on with a broken answer as they should: what they say is not shown, and others are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.misbehaving.words import TEXT, bare, count, marks, plain
from tests.reliability.cast import FINE, Player, Stage, Step, do, staged
from tests.reliability.seen import ASKED, chat

CUT = do("breaks", how="reset", at=9)
DRAWN = {"temperature": 0.9}

WRITTEN = (
    "escaped", "in fours", "finish with the last", "role everywhere", "usage null", "empty between", "crlf", "bytes",
    "one packet", "comments",
)  # fmt: skip

# Model -> the scripts of `first`, `second` and `third`, who are asked in this order.
SCRIPTS: dict[str, tuple[list[Step], ...]] = {
    "drifts": ([CUT], [do("fine", drifts_at=3), FINE]),
    "drifts-then-third": ([CUT], [do("fine", drifts_at=3), do("status", status=500)], [FINE]),
    "drifts-late": ([CUT], [do("fine", drifts_at=60)]),
    "drifts-alone": ([CUT], [do("fine", drifts_at=3)]),
    "no-prefill": ([CUT], [do("no_prefill")], [FINE]),
    "no-prefill-alone": ([CUT, do("no_prefill")], [do("no_prefill")]),
    "forgetful": ([CUT], [do("fine", repeats_prefix=False)], [FINE]),
    "twice": ([CUT], [do("breaks", how="stalled", at=12)], [FINE]),
    "twice-at-once": ([CUT], [do("breaks", how="error", at=1)], [FINE]),
    "everywhere": ([CUT], [CUT], [CUT]),
    "everywhere-garbage": tuple([do("breaks", how="malformed", at=9)] for _ in range(3)),
    "itself": ([CUT, FINE],),
    "refused": ([do("breaks", how="refused", at=9)], [FINE]),
    "down": ([CUT], [do("status", status=500)], [do("reset")]),
    "busy": ([CUT], [do("status", status=429, retry_after="1"), FINE]),
    **{f"written-{name}": ([CUT], [do("fine", framing=name)]) for name in WRITTEN},
}
NAMED = {model.replace(" ", "-"): scripts for model, scripts in SCRIPTS.items()}
NAMES = ("first", "second", "third")


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A node for each part, so that no scenario sees what another has left."""
    players = [
        Player(f"{model}.{kind}.{name}", {f"{model}.{kind}": script})
        for model, scripts in NAMED.items()
        for kind in ("fixed", "drawn")
        for name, script in zip(NAMES, scripts, strict=False)
    ]
    no_prefill = {"resume": False}
    for player in players:
        if player.name.startswith("drifts-alone"):
            player.changes = no_prefill
    async with staged(tmp_path_factory.mktemp("ways"), players) as made:
        yield made


def _tries(stage: Stage, model: str) -> dict[str, int]:
    return {name.rpartition(".")[2]: tries for name, tries in stage.tries(model).items()}


async def test_a_replay_that_disagrees_is_not_shown_and_the_rest_is_continued(stage: Stage) -> None:
    seen = (await chat(stage, "drifts.fixed")).is_whole()
    assert seen.text == TEXT
    assert seen.joins == ["resumed by continuing on another node"]
    tries = _tries(stage, "drifts.fixed")
    assert tries["second"] == 2, "by replay, then by continuing"
    assert tries["first"] <= 2


async def test_a_replay_that_disagrees_and_a_node_that_then_fails_leave_the_third(stage: Stage) -> None:
    seen = (await chat(stage, "drifts-then-third.fixed")).is_whole()
    assert seen.text == TEXT
    assert _tries(stage, "drifts-then-third.fixed")["third"] == 1


async def test_what_comes_after_a_replay_has_caught_up_is_as_good_as_any(stage: Stage) -> None:
    seen = (await chat(stage, "drifts-late.fixed")).is_whole()
    assert seen.text[:150] == TEXT[:150]
    assert len(seen.text) == len(TEXT)


async def test_a_replay_that_disagrees_where_nothing_can_be_continued_is_no_answer(stage: Stage) -> None:
    seen = (await chat(stage, "drifts-alone.fixed")).is_broken()
    assert TEXT.startswith(seen.text)
    assert seen.error is not None
    assert seen.error.code == "upstream_broken", "the cut is what the client is told of"
    assert _tries(stage, "drifts-alone.fixed")["second"] <= 2


async def test_a_node_that_refuses_a_prefill_is_passed_over(stage: Stage) -> None:
    seen = (await chat(stage, "no-prefill.drawn", **DRAWN)).is_whole()
    assert bare(seen.text) == plain()
    assert _tries(stage, "no-prefill.drawn") == {"first": 1, "second": 1, "third": 1}


async def test_where_all_refuse_a_prefill_the_client_is_not_told_that_it_was_wrong(stage: Stage) -> None:
    seen = (await chat(stage, "no-prefill-alone.drawn", **DRAWN)).is_broken()
    assert seen.error is not None
    assert seen.error.code == "upstream_broken"
    assert "assistant" not in seen.error.message


async def test_a_prefill_that_is_not_repeated_is_not_taken_for_one_that_is(stage: Stage) -> None:
    seen = (await chat(stage, "forgetful.drawn", **DRAWN)).is_whole()
    assert bare(seen.text) == plain()


@pytest.mark.parametrize(("kind", "more"), [("fixed", {}), ("drawn", DRAWN)])
@pytest.mark.parametrize("name", ["twice", "twice-at-once"])
async def test_a_stream_that_breaks_twice_is_whole(stage: Stage, name: str, kind: str, more: dict[str, Any]) -> None:
    model = f"{name}.{kind}"
    seen = (await chat(stage, model, **more)).is_whole()
    if kind == "fixed":
        assert seen.text == TEXT
    else:
        assert bare(seen.text) == plain()
        assert [mark.rpartition(".")[2] for mark in marks(seen.text)][-1] == "third"
    assert _tries(stage, model) == {"first": 1, "second": 1, "third": 1}
    assert seen.usage.completion_tokens == count(seen.text)


@pytest.mark.parametrize(("kind", "more"), [("fixed", {}), ("drawn", DRAWN)])
@pytest.mark.parametrize(
    ("name", "code"), [("everywhere", "upstream_broken"), ("everywhere-garbage", "upstream_garbage")]
)
async def test_a_stream_that_breaks_everywhere_gets_an_error_and_no_end(
    stage: Stage, name: str, code: str, kind: str, more: dict[str, Any]
) -> None:
    model = f"{name}.{kind}"
    seen = await chat(stage, model, **more)
    if seen.error is None:  # with each try it comes a little further: at last it is whole
        assert kind == "drawn"
        assert bare(seen.is_whole().text) == plain()
        return
    seen.is_broken()
    assert seen.error.code == code
    assert seen.text
    assert TEXT.startswith(seen.text) or kind == "drawn"
    assert all(count <= 2 for count in _tries(stage, model).values()), "no node is asked for ever"


@pytest.mark.parametrize(("kind", "more"), [("fixed", {}), ("drawn", DRAWN)])
async def test_a_node_alone_is_asked_once_more_itself(stage: Stage, kind: str, more: dict[str, Any]) -> None:
    seen = (await chat(stage, f"itself.{kind}", **more)).is_whole()
    assert seen.text == TEXT or bare(seen.text) == plain()
    assert _tries(stage, f"itself.{kind}") == {"first": 2}


async def test_what_the_node_refuses_in_the_midst_is_the_clients(stage: Stage) -> None:
    seen = (await chat(stage, "refused.fixed")).is_broken()
    assert seen.error is not None
    assert (seen.error.code, seen.error.message) == ("content_filter", "this is not to be said")
    assert _tries(stage, "refused.fixed") == {"first": 1}


@pytest.mark.parametrize(("kind", "more"), [("fixed", {}), ("drawn", DRAWN)])
async def test_where_no_other_node_is_up_the_break_is_told(stage: Stage, kind: str, more: dict[str, Any]) -> None:
    seen = (await chat(stage, f"down.{kind}", **more)).is_broken()
    assert seen.error is not None
    assert seen.error.code == "upstream_broken"
    assert _tries(stage, f"down.{kind}")["second"] == 1


@pytest.mark.parametrize(("kind", "more"), [("fixed", {}), ("drawn", DRAWN)])
@pytest.mark.parametrize("name", WRITTEN)
async def test_the_rest_may_be_written_otherwise(stage: Stage, name: str, kind: str, more: dict[str, Any]) -> None:
    model = f"written-{name.replace(' ', '-')}.{kind}"
    seen = (await chat(stage, model, **more)).is_whole()
    assert (seen.text if kind == "fixed" else bare(seen.text)) == (TEXT if kind == "fixed" else plain())
    assert (seen.finish, _tries(stage, model)) == ("stop", {"first": 1, "second": 1})
    assert seen.usage.prompt_tokens == count(str(ASKED["messages"][0]["content"])) + 4


@pytest.mark.parametrize(("kind", "more"), [("fixed", {}), ("drawn", DRAWN)])
async def test_who_says_soon_is_waited_for_in_the_midst_too(stage: Stage, kind: str, more: dict[str, Any]) -> None:
    seen = (await chat(stage, f"busy.{kind}", **more)).is_whole()
    assert (seen.text if kind == "fixed" else bare(seen.text)) == (TEXT if kind == "fixed" else plain())
