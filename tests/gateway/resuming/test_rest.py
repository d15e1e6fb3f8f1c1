"""The rest of a broken answer, from another node: no word lost or doubled, the same id, and no disagreement hidden."""

from __future__ import annotations

import pytest

from gateway.resuming.rest import Disagrees
from gateway.resuming.ways import Way
from relay.errors import Reset
from tests.gateway.resuming.chunks import DONE, Heard, call, delta, event, finish, role, usage, word

WORDS = ("Once", " upon", " a", " time", ", é", "你", "😀", ".")
TEXT = "".join(WORDS)


def begun(told: int, answers: int = 1) -> Heard:
    heard = Heard(answers)
    heard.first(role(), *map(word, WORDS[:told]))
    return heard


@pytest.mark.parametrize("told", range(1, len(WORDS) + 1))
def test_a_replay_goes_on_where_it_broke(told: int) -> None:
    heard = begun(told)
    answer = (role("b"), *(word(text, "b") for text in WORDS), finish(id="b"), usage(5, 8, "b"), DONE)
    heard.then(*answer)
    heard.sink.end()
    assert heard.text == TEXT
    assert heard.ids == {"first"}
    assert heard.parsed[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}
    assert heard.basin.bytes.count(b": resumed\n\n") == 1
    assert sum("role" in parsed["choices"][0]["delta"] for parsed in heard.parsed if parsed["choices"]) == 1
    assert heard.said.tokens == len(WORDS)


@pytest.mark.parametrize("cut", range(1, len(TEXT)))
def test_tokens_may_be_cut_otherwise_the_second_time(cut: int) -> None:
    heard = begun(4)
    heard.then(word(TEXT[:cut], "b"), word(TEXT[cut:], "b"), finish(id="b"), DONE)
    assert heard.text == TEXT


def test_another_text_is_not_shown() -> None:
    for other in ("Twice", "Once upon b", "Onc\u0435"):
        heard = begun(4)
        shown = heard.basin.bytes
        with pytest.raises(Disagrees):
            heard.then(role("b"), word(other, "b"), word(TEXT[len(other) :], "b"))
        assert heard.basin.bytes == shown


def test_a_replay_that_ends_earlier_disagrees() -> None:
    heard = begun(4)
    with pytest.raises(Disagrees):
        heard.then(role("b"), word("Once", "b"), finish(id="b"), DONE)


def test_a_replay_that_breaks_before_it_has_caught_up_shows_nothing() -> None:
    heard = begun(4)
    shown = heard.basin.bytes
    heard.then(role("b"), word("Once", "b"))
    with pytest.raises(Reset):
        heard.sink.end()
    heard.then(*(word(text, "c") for text in WORDS), finish(id="c"), DONE)
    assert heard.text == TEXT
    assert heard.basin.bytes.startswith(shown)


def test_it_may_break_again() -> None:
    heard = begun(2)
    heard.then(*(word(text, "b") for text in WORDS[:5]))
    heard.then(*(word(text, "c") for text in WORDS), finish(id="c"), DONE)
    heard.sink.end()
    assert (heard.text, heard.ids) == (TEXT, {"first"})
    assert heard.basin.bytes.count(b": resumed\n\n") == 2


def test_a_prefill_comes_back_with_its_first_token() -> None:
    heard = begun(4)
    heard.then(
        role("b"), word(TEXT[:16] + WORDS[4], "b"), *(word(text, "b") for text in WORDS[5:]), finish(id="b"),
        usage(20, 4, "b"), DONE, way=Way.CONTINUE,
    )  # fmt: skip
    assert heard.text == TEXT
    assert heard.parsed[-1]["usage"] == {"prompt_tokens": 16, "completion_tokens": 8, "total_tokens": 24}


def test_a_prefill_that_is_not_given_back_is_not_shown() -> None:
    heard = begun(4)
    with pytest.raises(Disagrees):
        heard.then(role("b"), word(WORDS[4], "b"), way=Way.CONTINUE)


def test_a_completion_goes_on_without_an_echo() -> None:
    heard = Heard()
    heard.first(event({"index": 0, "text": "Once", "finish_reason": None}))
    heard.then(
        event({"index": 0, "text": " upon", "finish_reason": None}, id="b"),
        event({"index": 0, "text": "", "finish_reason": "stop"}, id="b"), DONE, way=Way.CONTINUE, echoed=False,
    )  # fmt: skip
    assert heard.channel("text") == "Once upon"
    assert heard.ids == {"first"}
    assert heard.said.done


def test_nothing_but_a_role_was_said() -> None:
    heard = Heard()
    heard.first(role())
    heard.then(role("b"), word("Other", "b"), word(" words", "b"), finish(id="b"), DONE, way=Way.AGAIN)
    assert (heard.text, heard.ids) == ("Other words", {"first"})


def test_a_call_keeps_its_id_and_loses_no_argument() -> None:
    heard = Heard()
    heard.first(role(), call("", name="look", call_id="mine"), call('{"ci'))
    heard.then(
        role("b"), call("", name="look", call_id="theirs", id="b"), call('{"city', id="b"), call('":"Bern"}', id="b"),
        finish("tool_calls", "b"), DONE,
    )  # fmt: skip
    calls = [
        c for parsed in heard.parsed for choice in parsed["choices"] for c in choice["delta"].get("tool_calls", ())
    ]
    assert "".join(c["function"].get("arguments", "") for c in calls) == '{"city":"Bern"}'
    assert [c["id"] for c in calls if "id" in c] == ["mine"]
    assert [c["function"]["name"] for c in calls if "name" in c["function"]] == ["look"]


def test_another_call_is_not_shown() -> None:
    heard = Heard()
    heard.first(role(), call("", name="look", call_id="mine"), call('{"ci'))
    with pytest.raises(Disagrees):
        heard.then(role("b"), call("", name="listen", call_id="theirs", id="b"))


def test_reasoning_comes_before_the_text_again() -> None:
    heard = Heard()
    heard.first(role(), delta(reasoning_content="Hm"), delta(reasoning_content=", yes"), word("It"))
    heard.then(
        role("b"), delta("b", reasoning_content="Hm, "), delta("b", reasoning_content="yes"), word("It is", "b"),
        finish(id="b"), DONE,
    )  # fmt: skip
    assert (heard.channel("reasoning_content"), heard.text) == ("Hm, yes", "It is")


def test_probabilities_are_told_once() -> None:
    def token(text: str, id: str = "first") -> bytes:
        return word(text, id, logprobs={"content": [{"token": text, "logprob": -0.5}]})

    heard = Heard()
    heard.first(token("a"), token("b"))
    heard.then(token("a", "b"), token("b", "b"), token("c", "b"), finish(id="b"), DONE)
    told = [
        c["logprobs"]["content"][0]["token"] for parsed in heard.parsed for c in parsed["choices"] if "logprobs" in c
    ]
    assert told == ["a", "b", "c"]
    heard = Heard()
    heard.first(token("a"), token("b"))
    with pytest.raises(Disagrees):
        heard.then(token("a", "b"), token("bc", "b"))


def test_each_choice_goes_on_by_itself() -> None:
    heard = Heard(answers=2)
    heard.first(role(), word("a"), role(index=1), word("x", index=1), finish())
    heard.then(
        role("b"), word("a", "b"), finish(id="b"), role("b", 1), word("x", "b", 1), word("y", "b", 1),
        finish(id="b", index=1), DONE,
    )  # fmt: skip
    heard.sink.end()
    assert (heard.text, heard.channel("content", 1)) == ("a", "xy")
    assert [c["finish_reason"] for parsed in heard.parsed for c in parsed["choices"] if c["finish_reason"]] == [
        "stop"
    ] * 2


def running(text: str, generated: int, id: str = "first") -> bytes:
    """A word, with the count so far."""
    return word(text, id).replace(
        b'"object"', b'"usage":{"prompt_tokens":3,"completion_tokens":%d},"object"' % generated
    )


def test_a_running_count_of_tokens_does_not_take_the_last_ones_place() -> None:
    heard = Heard()
    heard.first(role(), running("Once", 1), running(" upon", 2))
    heard.then(
        role("b"), *(running(text, at, "b") for at, text in enumerate(WORDS, 1)), finish(id="b"), usage(3, 8, "b")
    )
    assert heard.text == TEXT
    assert heard.parsed[-1]["usage"]["completion_tokens"] == 8
    assert heard.parsed[-1]["choices"] == []


def test_a_count_before_it_has_caught_up_is_not_shown() -> None:
    heard = begun(2)
    shown = heard.basin.bytes
    heard.then(role("b"), usage(3, 0, "b"), word("Once", "b"))
    assert heard.basin.bytes == shown


@pytest.mark.parametrize("place", [[], {}, None, "0"])
def test_a_calls_place_that_is_none_harms_nobody(place: object) -> None:
    began = delta(tool_calls=[{"index": place, "id": "x", "function": {"name": "look", "arguments": ""}}])
    heard = Heard()
    heard.first(role(), began)
    heard.then(role("b"), began.replace(b'"first"', b'"b"'), finish("tool_calls", "b"), DONE)
    heard.sink.end()
