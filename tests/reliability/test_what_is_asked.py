"""What is asked of the node that goes on with a broken answer, so that budget, stops, seed and usage stay as they were.

Not here: nodes that do not go on as they should (test_ways).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.misbehaving.engine import ARGUMENTS, PROMPT
from tests.misbehaving.words import TEXT, THOUGHT, bare, count, plain
from tests.reliability.cast import FINE, Player, Stage, do, staged
from tests.reliability.seen import ASKED, chat, completion

CUT = do("breaks", how="reset", at=9)
SPENT = do("breaks", how="reset", at=1000)
DRAWN = {"temperature": 0.9}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
THINKING = {"extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}
MODELS = (
    "tools", "drawn-tools", "thinking", "drawn-thinking", "logprobs", "drawn-logprobs", "two", "drawn-two", "json",
    "drawn-json", "budget", "new-budget", "stop", "seed", "replay-body", "system", "joined-prompt", "no-usage",
    "fixed-budget", "prefilled", "other-name", "vm", "spent.fixed", "spent.drawn", "spent.completion",
)  # fmt: skip


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A first and a second node for each test, so that none sees what another has left."""
    players = []
    for model in MODELS:
        changes = {"aliases": ["other"]} if model == "other-name" else {}
        first = SPENT if model.startswith("spent") else CUT
        players.append(Player(f"{model}.first", {model: [first]}, changes=changes))
        players.append(Player(f"{model}.second", {model: [FINE]}, changes=changes))
    async with staged(tmp_path_factory.mktemp("asked"), players) as made:
        yield made


def _tries(stage: Stage, model: str) -> dict[str, int]:
    return {name.rpartition(".")[2]: tries for name, tries in stage.tries(model).items()}


def _second(stage: Stage, model: str) -> dict[str, Any]:
    """What the second node was asked."""
    (body,) = stage.asked(f"{model}.second", model)
    return body


async def test_a_call_of_a_tool_is_replayed_with_the_id_that_was_told(stage: Stage) -> None:
    seen = (await chat(stage, "tools", tools=TOOLS)).is_whole()
    (call,) = seen.calls.values()
    assert (call["name"], call["arguments"]) == ("weather", ARGUMENTS)
    assert len(call["id"]) == 32, "one id, and not two after another"
    assert seen.finish == "tool_calls"
    assert _tries(stage, "tools") == {"first": 1, "second": 1}


async def test_thoughts_are_replayed(stage: Stage) -> None:
    seen = (await chat(stage, "thinking", **THINKING)).is_whole()
    assert (seen.thoughts[0], seen.text) == (THOUGHT, TEXT)


async def test_logprobs_are_replayed(stage: Stage) -> None:
    seen = (await chat(stage, "logprobs", logprobs=True)).is_whole()
    assert "".join(seen.logprobs) == seen.text == TEXT


async def test_two_choices_are_replayed(stage: Stage) -> None:
    seen = (await chat(stage, "two", n=2)).is_whole()
    assert seen.texts == {0: TEXT, 1: TEXT}


async def test_json_is_replayed(stage: Stage) -> None:
    shape = {"type": "json_object"}
    assert (await chat(stage, "json", response_format=shape)).is_whole().text == TEXT
    assert _second(stage, "json")["response_format"] == shape


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("drawn-tools", {"tools": TOOLS}),
        ("drawn-thinking", THINKING),
        ("drawn-logprobs", {"logprobs": True}),
        ("drawn-two", {"n": 2}),
        ("drawn-json", {"response_format": {"type": "json_object"}}),
    ],
)
async def test_what_cannot_be_gone_on_with_exactly_is_not_gone_on_with(
    stage: Stage, kind: str, more: dict[str, Any]
) -> None:
    seen = (await chat(stage, f"{kind}", **DRAWN, **more)).is_broken()
    assert seen.error is not None
    assert seen.error.code == "upstream_broken"
    assert _tries(stage, f"{kind}") == {"first": 1}, "nobody computes what nobody could use"


@pytest.mark.parametrize(("kind", "name"), [("budget", "max_tokens"), ("new-budget", "max_completion_tokens")])
async def test_a_continued_answer_keeps_its_budget(stage: Stage, kind: str, name: str) -> None:
    seen = (await chat(stage, f"{kind}", **DRAWN, **{name: 30})).is_whole()
    assert (count(seen.text), seen.finish) == (30, "length")
    assert _second(stage, f"{kind}")[name] == 30 - 9
    assert (seen.usage.completion_tokens, seen.usage.prompt_tokens) == (30, count(_prompt()) + 4)


async def test_a_replayed_answer_keeps_its_budget(stage: Stage) -> None:
    seen = (await chat(stage, "fixed-budget", max_tokens=30)).is_whole()
    assert (count(seen.text), seen.finish) == (30, "length")
    assert seen.usage.completion_tokens == 30


@pytest.mark.parametrize("kind", ["fixed", "drawn", "completion"])
async def test_an_answer_that_has_had_all_its_tokens_lacks_its_end_alone(stage: Stage, kind: str) -> None:
    model = f"spent.{kind}"
    if kind == "completion":
        seen = await completion(stage, model, PROMPT, max_tokens=30, **DRAWN)
    else:
        seen = await chat(stage, model, max_tokens=30, **(DRAWN if kind == "drawn" else {}))
    assert (count(seen.is_whole().text), seen.finish) == (30, "length")


async def test_a_continued_answer_stops_where_it_was_told_to(stage: Stage) -> None:
    seen = (await chat(stage, "stop", **DRAWN, stop=[" broken", "never said"], top_p=0.5, user="me")).is_whole()
    assert seen.finish == "stop"
    assert plain().startswith(bare(seen.text))
    assert seen.text.split()[-1].startswith("been~")
    asked = _second(stage, "stop")
    (first,) = stage.asked("stop.first", "stop")
    assert {**asked, "messages": first["messages"]} == first, "nothing else is other than it was asked for"


async def test_with_a_seed_it_is_replayed(stage: Stage) -> None:
    seen = (await chat(stage, "seed", **DRAWN, seed=7)).is_whole()
    assert bare(seen.text) == plain()
    assert seen.joins == ["resumed by replay on another node"]
    assert _second(stage, "seed")["seed"] == 7


async def test_a_replay_asks_the_same(stage: Stage) -> None:
    (await chat(stage, "replay-body", max_tokens=50, stop=["never said"])).is_whole()
    (first,) = stage.asked("replay-body.first", "replay-body")
    assert _second(stage, "replay-body") == first


async def test_a_conversation_is_continued_behind_its_last_message(stage: Stage) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who is there?"},
        {"role": "assistant", "content": "I am."},
        {"role": "user", "content": "Go on."},
    ]
    seen = (await chat(stage, "system", **DRAWN, messages=messages)).is_whole()
    assert bare(seen.text) == plain()
    *before, last = _second(stage, "system")["messages"]
    assert before == messages
    assert last["role"] == "assistant"
    assert seen.text.startswith(last["content"])


async def test_a_clients_own_prefill_is_kept(stage: Stage) -> None:
    begun = "The~me ferry~me"
    messages = [*ASKED["messages"], {"role": "assistant", "content": begun}]
    seen = (await chat(stage, "prefilled", **DRAWN, messages=messages)).is_whole()
    assert bare(seen.text) == plain()
    assert seen.text.startswith(begun)
    *before, last = _second(stage, "prefilled")["messages"]
    assert before == ASKED["messages"]
    assert last["content"].startswith(begun)


async def test_a_completion_is_continued_from_its_prompt_and_text(stage: Stage) -> None:
    seen = (await completion(stage, "joined-prompt", PROMPT, **DRAWN, max_tokens=40)).is_whole()
    asked = _second(stage, "joined-prompt")
    assert asked["prompt"].startswith(PROMPT)
    assert seen.text.startswith(asked["prompt"].removeprefix(PROMPT))
    assert asked["max_tokens"] == 40 - 9


async def test_usage_that_was_not_asked_for_does_not_come(stage: Stage) -> None:
    seen = (await chat(stage, "no-usage", **DRAWN, stream_options={"include_usage": False})).is_whole()
    assert bare(seen.text) == plain()
    assert seen.usage is None


async def test_under_another_name_it_is_resumed_too(stage: Stage) -> None:
    assert bare((await chat(stage, "other", **DRAWN)).is_whole().text) == plain()
    assert _tries(stage, "other-name") == {"first": 1, "second": 1}


async def test_who_asked_one_vm_is_answered_by_no_other(stage: Stage) -> None:
    key = stage.key_of("vm.first")
    there = replace(stage, client=stage.client.with_options(base_url=f"{stage.tap.url}/vm/{key}/v1"))
    (await chat(there, "vm", **DRAWN)).is_broken()
    assert _tries(stage, "vm").keys() == {"first"}


def _prompt() -> str:
    return str(ASKED["messages"][0]["content"])
