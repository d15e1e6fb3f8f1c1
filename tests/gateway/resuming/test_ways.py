"""Which ways are right to go on with a broken answer, and what is asked then."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.resuming.said import Said
from gateway.resuming.ways import Way, Wish, answers_of, is_resumable, spent, ways
from relay.call import Call
from relay.endpoints import CHAT, COMPLETIONS, MESSAGES, Endpoint
from tests.gateway.resuming.chunks import Heard, role, word
from tests.gateway.resuming.chunks import call as tool_call

QUESTION = [{"role": "user", "content": "Tell me."}]


def asked(endpoint: Endpoint = CHAT, **fields: Any) -> Call:
    usual = {"messages": QUESTION} if endpoint is CHAT else {"prompt": "Tell me:"}
    return Call(endpoint, "m", True, "id", body=orjson.dumps({"model": "m", "stream": True, **usual, **fields}))


def said(*words: str) -> Said:
    heard = Heard()
    heard.first(role(), *map(word, words))
    return heard.said


def found(call: Call, told: Said, wish: Wish = "auto", taken_s: float = 1.0) -> list[Way]:
    return [way for way, _ in ways(call, told, wish, taken_s)]


def body(call: Call, told: Said) -> dict[str, Any]:
    return next(orjson.loads(going_on.body) for way, going_on in ways(call, told, "auto", 1.0) if way is Way.CONTINUE)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0}, [Way.REPLAY, Way.CONTINUE]),
        ({"temperature": 0.0}, [Way.REPLAY, Way.CONTINUE]),
        ({"top_k": 1}, [Way.REPLAY, Way.CONTINUE]),
        ({"seed": 7}, [Way.REPLAY, Way.CONTINUE]),
        ({"seed": -1}, [Way.CONTINUE]),
        ({}, [Way.CONTINUE]),
        ({"temperature": 0.8}, [Way.CONTINUE]),
        ({"temperature": 0, "tools": [{"type": "function"}]}, [Way.REPLAY]),
        ({"tools": [{"type": "function"}]}, []),
        ({"tools": []}, [Way.CONTINUE]),
        ({"response_format": {"type": "json_object"}}, []),
        ({"response_format": {"type": "text"}}, [Way.CONTINUE]),
        ({"grammar": 'root ::= "a"'}, []),
        ({"logprobs": True}, []),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "Other"}]}, []),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "Once"}]}, [Way.CONTINUE]),
    ],
)
def test_the_ways_of_a_chat(fields: dict[str, Any], expected: list[Way]) -> None:
    assert found(asked(**fields), said("Once", " upon")) == expected


def test_a_long_answer_is_rather_continued_than_replayed() -> None:
    assert found(asked(temperature=0), said("Once"), taken_s=60) == [Way.CONTINUE, Way.REPLAY]


def test_the_hosts_wish_counts() -> None:
    call, told = asked(temperature=0), said("Once")
    assert found(call, told, "off") == []
    assert found(call, told, "replay") == [Way.REPLAY]
    assert found(call, told, "continue") == [Way.CONTINUE]


def test_where_nothing_was_said_it_is_asked_again() -> None:
    assert found(asked(tools=[{"type": "function"}]), said()) == [Way.AGAIN]
    assert found(asked(), Said()) == [Way.AGAIN]


def test_a_call_that_has_begun_is_only_replayed() -> None:
    heard = Heard()
    heard.first(role(), tool_call("", name="look", call_id="mine"))
    assert found(asked(temperature=0), heard.said) == [Way.REPLAY]
    assert found(asked(), heard.said) == []


def test_the_text_so_far_is_the_last_message_and_the_rest_of_the_tokens_are_left() -> None:
    told = body(asked(max_tokens=10, max_completion_tokens=5, stop=["END"], seed=3, min_p=0.1), said("Once", " upon"))
    assert told["messages"] == [*QUESTION, {"role": "assistant", "content": "Once upon"}]
    assert (told["max_tokens"], told["max_completion_tokens"]) == (8, 3)
    assert (told["stop"], told["seed"], told["min_p"], told["stream"]) == (["END"], 3, 0.1, True)


def test_a_message_that_the_client_has_begun_is_gone_on_with() -> None:
    call = asked(messages=[*QUESTION, {"role": "assistant", "content": "Once"}])
    assert body(call, said("Once", " upon"))["messages"][1:] == [{"role": "assistant", "content": "Once upon"}]


def test_a_completion_goes_on_behind_its_prompt() -> None:
    assert body(asked(COMPLETIONS), said("Once"))["prompt"] == "Tell me:Once"
    assert body(asked(COMPLETIONS, prompt=["Tell"]), said("Once"))["prompt"] == "TellOnce"
    assert found(asked(COMPLETIONS, prompt=[1, 2]), said("Once")) == []
    assert found(asked(COMPLETIONS, echo=True), said("Once")) == []


def test_no_token_is_asked_for_beyond_the_last() -> None:
    told = said("Once", " upon")
    assert spent(asked(max_tokens=2), told)
    assert not spent(asked(max_tokens=3), told)
    assert not spent(asked(), told)
    assert found(asked(max_tokens=2), told) == []


def test_how_many_choices_there_will_be() -> None:
    assert answers_of(asked()) == 1
    assert answers_of(asked(n=3)) == 3
    assert answers_of(asked(COMPLETIONS, prompt=["a", "b"], n=2)) == 4
    assert answers_of(asked(COMPLETIONS, prompt=[5, 6, 7])) == 1


def test_only_streams_of_two_endpoints_are_resumed() -> None:
    assert is_resumable(asked())
    assert is_resumable(asked(COMPLETIONS))
    assert not is_resumable(Call(MESSAGES, "m", True, "id"))
    assert not is_resumable(Call(CHAT, "m", False, "id"))
