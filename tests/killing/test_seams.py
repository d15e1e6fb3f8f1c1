"""The checks of this room fail where they should: on text doubled, lost, drawn anew, or told by nobody."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.killing import seams
from tests.killing.caller import Heard
from tests.killing.crossing import Piece
from tests.killing.report import quantile
from tests.killing.wire import Event, Exchange

BEFORE, BEHIND = ["One", " two", " three"], [" four", " five"]


def _chunk(text: str) -> Any:
    return {"id": "a", "choices": [{"index": 0, "delta": {"content": text}}]}


def _heard(before: list[str], behind: list[str], way: str = "continuing") -> Heard:
    """As a client hears it: a piece a second, and three at the join."""
    events = [Event(float(at), _chunk(text)) for at, text in enumerate(before)]
    events.append(Event(len(before) + 1.5, comment=f"resumed by {way} on another node"))
    events += [Event(len(before) + 2.0 + at, _chunk(text)) for at, text in enumerate(behind)]
    return Heard(text="".join([*before, *behind]), events=events)


def _exchange(at: float, texts: list[str], begun: str = "", cut: int = 0) -> Exchange:
    messages = [{"role": "user", "content": "Count."}]
    if begun:
        messages.append({"role": "assistant", "content": begun})
    raw = b"".join(b"data: " + orjson.dumps(_chunk(text)) + b"\n\n" for text in texts)
    pieces: list[Piece] = [(at, raw[: len(raw) - cut])]
    return Exchange({"messages": messages}, at, 200, pieces, whole=not cut)


FIRST = _exchange(0, BEFORE)
SECOND = _exchange(1, ["One two three four", " five"], "One two three")


def test_a_good_join_has_no_fault() -> None:
    assert seams.fault(_heard(BEFORE, BEHIND), [FIRST, SECOND]) == ""


def test_what_the_first_node_said_and_nobody_was_told_is_no_fault() -> None:
    assert seams.fault(_heard(BEFORE, BEHIND), [_exchange(0, [*BEFORE, " 4", " 5"], cut=20), SECOND]) == ""


@pytest.mark.parametrize(
    ("before", "behind", "asked", "what"),
    [
        (BEFORE, [" three", *BEHIND], [FIRST, SECOND], "behind the join"),  # doubled
        (BEFORE, BEHIND[1:], [FIRST, SECOND], "behind the join"),  # lost
        (["One", " two"], [" three", *BEHIND], [FIRST, SECOND], "went on from"),
        ([*BEFORE, " six"], BEHIND, [FIRST, SECOND], "the first node said"),
        (BEFORE, BEHIND, [FIRST, _exchange(1, ["One two three four", " five"], "One two")], "went on from"),
        (BEFORE, BEHIND, [FIRST, _exchange(1, ["One two three", " 4", " 5"], "One two three")], "the second node said"),
    ],
)
def test_a_seam_is_seen(before: list[str], behind: list[str], asked: list[Exchange], what: str) -> None:
    assert what in seams.fault(_heard(before, behind), asked)


def test_an_answer_in_one_piece_has_no_join_to_judge() -> None:
    assert "0 joins" in seams.fault(Heard(text="One two three"), [FIRST])


def test_the_pause_is_what_the_join_took_beside_the_usual_gap() -> None:
    (join,) = _heard(BEFORE, BEHIND, way="replay").joins
    assert (join.way, join.text, join.added_s) == ("replay", "One two three", 2.0)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({}, ""),
        ({"finish": "stop"}, "ended with stop"),
        ({"finish": None}, "ended with None"),
        ({"error": "broke off"}, "broke off"),
        ({"ids": {"a", "b"}}, "ids"),
        ({"generated": 4}, "4 tokens of 5"),
        ({"prompt": 9}, "9 tokens of prompt"),
        ({"generated": None, "pieces": 5}, ""),
        ({"generated": None, "pieces": 4}, "4 pieces"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_fault(changed: dict[str, Any], what: str) -> None:
    good: dict[str, Any] = {"text": "One", "finish": "length", "ids": {"a"}, "generated": 5, "prompt": 3}
    fault = Heard(**{**good, **changed}).fault(Heard(**good), 5)
    assert what in fault
    assert bool(fault) == bool(what)


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([3, 1, 2], share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 2, 3, 3]
    assert quantile([7], 0.5) == 7
