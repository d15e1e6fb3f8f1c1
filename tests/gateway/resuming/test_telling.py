"""Streams that would hang, double or end for nothing, from their first byte to their last, over real sockets."""

from __future__ import annotations

import pytest

from tests.gateway.resuming.chunks import DONE, finish, role, usage, word
from tests.gateway.resuming.telling_scene import CUT, END, HOLD, WAIT, Player, Step, scene, text_of
from tests.programs import until

WORDS = [word(text) for text in ("Once", " upon", " a", " time")]
TEXT = "Once upon a time"
WHOLE = [role(), *WORDS, finish(), usage(3, 4), DONE]
MUTTER = (b": one moment\n\n",)


def nameless(events: list[bytes]) -> list[bytes]:
    """Without an id."""
    return [event.replace(b'"id":"first",', b"") for event in events]


@pytest.mark.parametrize(
    "life",
    [b": one moment\n\n", b'data: {"choices":[]}\n\n', word(""), b"data:\n\n"],
    ids=["comments", "no choices", "no text", "no data"],
)
async def test_signs_of_life_are_not_an_answer(life: bytes) -> None:
    bad, good = Player("bad", [[role(), *WORDS[:2], (life,)]]), Player("good", [WHOLE])
    async with scene(bad, good, gap_s=0.5) as made:
        read = await made.stream()
        assert text_of(read) == TEXT
        assert read.endswith(DONE)
        assert made.resumed == [("replay", True)]
        assert made.balance.in_flight == 0


async def test_a_replay_may_be_slow_to_catch_up() -> None:
    """What is skipped is an answer too."""
    bad, good = Player("bad", [[role(), *WORDS[:3], CUT]]), Player("good", [WHOLE])
    async with scene(bad, good, gap_s=0.5) as made:
        assert text_of(await made.stream()) == TEXT


@pytest.mark.parametrize(
    ("told", "then"),
    [
        ([b"".join(WHOLE[:-1])], HOLD),
        (WHOLE[:-2], HOLD),
        (WHOLE[:-1], MUTTER),
        ([b"".join(WHOLE)], MUTTER),
    ],
    ids=["no mark, in one piece, silence", "no usage, silence", "no mark, comments", "whole, in one piece, comments"],
)
async def test_what_is_whole_is_ended_soon(told: list[bytes], then: Step) -> None:
    alone = Player("alone", [[*told, then]])
    async with scene(alone, gap_s=600, first_token_s=600) as made:
        read = await made.stream()
        assert text_of(read) == TEXT
        assert read.endswith(DONE)
        assert made.resumed == []
        assert made.balance.in_flight == 0


@pytest.mark.parametrize("gap_s", [600, 0.5], ids=["that comes late", "that never comes"])
async def test_usage_that_was_asked_for_is_worth_waiting(gap_s: float) -> None:
    """Longer than the mark of the end is: a network that loses packets may take so long to bring it."""
    late = gap_s == 600
    alone = Player("alone", [[*WHOLE[:-2], WAIT if late else HOLD, *WHOLE[-2:]]])
    async with scene(alone, gap_s=gap_s) as made:
        read = await made.stream(stream_options={"include_usage": True})
        assert text_of(read) == TEXT
        assert read.endswith(DONE)
        assert (usage(3, 4) in read) is late
        assert made.resumed == []


async def test_an_answer_without_an_id_is_not_told_twice() -> None:
    bad, good = Player("bad", [[*nameless([role(), *WORDS[:2]]), CUT]]), Player("good", [WHOLE])
    async with scene(bad, good) as made:
        read = await made.stream()
        assert text_of(read) == TEXT
        assert b": resumed by replay" in read


async def test_an_engine_that_knows_nothing_of_several_choices_is_not_ill() -> None:
    node = Player("node", [WHOLE] * 3)
    async with scene(node) as made:
        for _ in range(3):
            assert (await made.stream(n=2)).endswith(DONE)
        assert made.balance.open_circuits == 0


async def test_text_after_the_end_is_not_told() -> None:
    node = Player("node", [[*WHOLE, WORDS[0], WORDS[1], END]])
    async with scene(node) as made:
        assert (await made.stream()).endswith(DONE)


@pytest.mark.parametrize("odd", [b'"content":["a"]', b'"content":{"a":1}', b'"content":7'])
async def test_a_text_that_is_no_text_harms_nobody(odd: bytes) -> None:
    strange = WORDS[2].replace(b'"content":" a"', odd)
    bad, good = (
        Player("bad", [[role(), *WORDS[:2], strange, CUT]]),
        Player("good", [[role(), *WORDS[:2], strange, *WHOLE[4:]]]),
    )
    async with scene(bad, good) as made:
        read = await made.stream(temperature=1)
        assert read.count(odd) == 1
        assert b'"error"' in read, "it can only be replayed, and that is not asked for"
        assert len(good.asked) == 0


async def test_few_are_asked_at_one_break() -> None:
    bad = Player("bad", [[role(), *WORDS[:2], CUT]])
    away = [Player(f"away{number}", [[CUT]]) for number in range(40)]
    async with scene(bad, *away) as made:
        read = await made.stream()
        assert b'"error"' in read
        assert not read.endswith(DONE)
        assert sum(len(player.asked) for player in (bad, *away)) <= 30
        assert made.balance.in_flight == 0


async def test_a_node_that_only_mutters_has_its_time() -> None:
    node = Player("node", [[MUTTER]])
    async with scene(node, first_token_s=1.0) as made:
        read = await made.stream()
        assert b"first_token_timeout" in read
        assert made.balance.in_flight == 0


@pytest.mark.parametrize(
    ("first", "second", "seen"),
    [
        ([MUTTER], [], b"one moment"),
        ([HOLD], [], b"no token yet"),
        ([role(), *WORDS[:2], HOLD], [], b" upon"),
        ([role(), *WORDS[:2], CUT], [HOLD], b" upon"),
        ([role(), *WORDS[:2], CUT], [role(), WORDS[0], HOLD], b" upon"),
        ([role(), *WORDS[:2], CUT], [role(), *WORDS[:3], HOLD], b" a"),
        ([*WHOLE[:-2], HOLD], [], b"stop"),
    ],
    ids=["a node's comments", "our comments", "a gap", "a search", "a replay", "behind a join", "the end"],
)
async def test_a_client_that_leaves_leaves_nothing(first: list[Step], second: list[Step], seen: bytes) -> None:
    async with scene(Player("first", [first]), Player("second", [second]), keepalive_s=0.1) as made:
        assert seen in await made.stream_until(seen)
        await until(lambda: made.balance.in_flight == 0)
        assert made.balance.open_circuits == 0
