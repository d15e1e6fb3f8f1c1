"""By what a conversation is known, whoever wrote its JSON, and how much of that is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.affinity import Homes, Topic, leaning, topic_of
from relay.call import Call
from relay.endpoints import ENDPOINTS
from tests.gateway.adverts import node_key

SYSTEM = "You answer in the manner of a lighthouse keeper. " * 30
Message = dict[str, Any]


def user(text: Any) -> Message:
    return {"role": "user", "content": text}


def assistant(text: Any) -> Message:
    return {"role": "assistant", "content": text}


def known(messages: list[Message], write: Callable[[Any], bytes] = orjson.dumps, **fields: Any) -> Topic | None:
    body = write({"model": "m", **fields.pop("ahead", {}), "messages": messages, **fields})
    return topic_of(Call(ENDPOINTS["chat.completions"], "m", True, "id", body=body))


def spaced(body: Any) -> bytes:
    return json.dumps(body).encode()


def sorted_keys(body: Any) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def content_first(body: Any) -> bytes:
    body["messages"] = [dict(reversed(message.items())) for message in body["messages"]]
    return orjson.dumps(body)


WRITERS = [orjson.dumps, spaced, sorted_keys, content_first]
said = st.text(max_size=400) | st.sampled_from(['"}', '{"role":"user"}', '"user"', "}", '\\"user\\"', "user", '"}]}'])


@settings(deadline=None)
@given(texts=st.lists(said, min_size=1, max_size=12), write=st.sampled_from(WRITERS), parts=st.booleans())
def test_each_turn_knows_the_one_before_and_all_begin_alike(
    texts: list[str], write: Callable[[Any], bytes], parts: bool
) -> None:
    messages: list[Message] = [{"role": "system", "content": SYSTEM}]
    before: Topic | None = None
    for number, text in enumerate(texts):
        content: Any = [{"type": "text", "text": f"{number} {text}"}] if parts else f"{number} {text}"
        messages = [*messages, user(content)]
        topic = known(messages, write, stream=True, max_tokens=5)
        assert topic is not None
        if before is not None:
            assert (topic.before, topic.beginning) == (before.now, before.beginning)
            assert topic.now != before.now
        else:
            assert topic.before is None
        assert known(messages, write, stream=True, max_tokens=9, temperature=0.5) == topic, "what follows is no part"
        messages, before = [*messages, assistant(f"Answer to {text}")], topic


def test_conversations_that_begin_alike_part_with_what_is_said() -> None:
    start = [{"role": "system", "content": SYSTEM}, user("Hello")]
    one, other = ([*start, assistant(f"Good {time}"), user("Go on")] for time in ("morning", "evening"))
    first, second, third = known(start), known(one), known(other)
    assert first and second and third
    assert first.now == second.before == third.before
    assert second.now != third.now
    assert first.beginning == second.beginning == third.beginning


def test_calls_of_tools_within_a_turn_do_not_make_it_another() -> None:
    start = [{"role": "system", "content": SYSTEM}, user("What is the weather?")]
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    later = [
        *start,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "19"},
    ]
    assert known(start) == known(later)


def test_the_field_user_is_no_question() -> None:
    start = [{"role": "system", "content": SYSTEM}, user("Hello")]
    for write in (orjson.dumps, spaced):
        assert known(start, write, user="somebody") == known(start, write, user="somebody else") == known(start, write)
    ahead = [known(start, ahead={"user": name}) for name in ("ann", "bob")]
    assert ahead[0] == ahead[1]


@pytest.mark.parametrize("endpoint", ["chat.completions", "messages", "responses"])
def test_chats_of_every_dialect_are_known(endpoint: str) -> None:
    field = "input" if endpoint == "responses" else "messages"
    body = orjson.dumps({"model": "m", "system": SYSTEM, field: [user("Hello")], "max_tokens": 5})
    assert topic_of(Call(ENDPOINTS[endpoint], "m", True, "id", body=body)) is not None


@pytest.mark.parametrize("endpoint", ["completions", "embeddings", "rerank", "images.generations", "audio.speech"])
def test_nothing_else_is_a_conversation(endpoint: str) -> None:
    body = orjson.dumps({"model": "m", "messages": [user(SYSTEM)]})
    assert topic_of(Call(ENDPOINTS[endpoint], "m", False, "id", body=body)) is None
    assert topic_of(object()) is None


@settings(deadline=None)
@given(st.binary(min_size=1024, max_size=3000))
def test_any_bytes_are_looked_at_without_harm(body: bytes) -> None:
    for dressed in (body, body + b'"user"', b'"user"' + body, b'"user":' * 300 + body):
        topic_of(Call(ENDPOINTS["chat.completions"], "m", False, "id", body=dressed))


def test_a_short_chat_is_not_worth_it_and_one_without_a_question_is_none() -> None:
    assert known([user("Hello")]) is None
    assert known([{"role": "system", "content": SYSTEM}]) is None


def test_a_long_picture_before_the_question_is_not_searched_through() -> None:
    picture = user([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}])
    topic = known([{"role": "system", "content": SYSTEM}, picture, assistant("A cat"), user("Which colour?")])
    assert topic is not None
    assert topic.before is None, "it stands too far ahead"


def test_every_process_leans_to_the_same_node_and_to_each_as_often() -> None:
    command = [sys.executable, "-c", "from tests.gateway.test_affinity import chosen; print(*chosen())"]
    told = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(2)]
    assert told == [chosen(), chosen()]
    assert min(Counter(chosen()).values()) > 60


def chosen() -> list[str]:
    """Where 300 conversations begin, of which a process knows nothing."""
    topics = [Topic(0, None, beginning) for beginning in range(0, 2**32, 2**32 // 300)]
    return [min("abc", key=lambda name: leaning(topic, node_key(name))) for topic in topics]


def test_only_so_much_is_kept_and_the_longest_unused_is_forgotten() -> None:
    homes = Homes(most=100)
    for number in range(1000):
        homes.settle("m", Topic(number, number - 1, 0), f"n{number % 3}")
        homes.settle("m", Topic(-1, None, 0), "kept")
        assert len(homes) <= 100
    assert homes.of("m", Topic(-1, None, 0)) == "kept"
    assert homes.of("m", Topic(999, None, 0)) == "n0"
    assert homes.of("m", Topic(5, None, 0)) is None
    assert homes.of("another", Topic(999, None, 0)) is None
    assert homes.of("m", Topic(12345, 999, 0)) == "n0", "the turn before"
