"""What the bodies of chat and its kin must be like, and how what is not so is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from relay.chat_input import check_chat, check_completion, check_message, check_response
from relay.errors import BadRequest

Check = Callable[[Mapping[str, Any]], None]
USER = {"role": "user", "content": "Hello"}
GOOD: dict[Check, dict[str, Any]] = {
    check_chat: {"messages": [USER]},
    check_completion: {"prompt": "Hello"},
    check_response: {"input": "Hello"},
    check_message: {"messages": [USER], "max_tokens": 4},
}
WITH_PARTS = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        *((check, {}) for check in GOOD),
        (check_chat, {"messages": WITH_PARTS, "temperature": 0, "top_p": 0.5, "seed": 7, "n": 2}),
        (check_chat, {"messages": [{"role": "assistant", "content": None, "tool_calls": []}, USER]}),
        (check_chat, {"stop": ["a", "b"], "tools": [], "response_format": {"type": "json_object"}, "n": None}),
        (check_chat, {"min_p": 0.1, "mirostat": 2, "samplers": ["top_k"], "anything": {"else": []}}),
        (check_completion, {"prompt": ["a", "b"]}),
        (check_completion, {"prompt": [1, 2, 3], "logprobs": 3}),
        (check_response, {"input": [{"role": "user", "content": "Hello"}], "background": False}),
        (check_response, {"previous_response_id": None, "max_output_tokens": 4}),
        (check_message, {"messages": WITH_PARTS, "system": "Be brief.", "stop_sequences": ["x"]}),
    ],
)
def test_good_bodies_are_taken(check: Check, changes: dict[str, Any]) -> None:
    check({"model": "m", **GOOD[check], **changes})


EVERYWHERE = [
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"temperature": True}, "temperature", "invalid_type"),
    ({"top_p": []}, "top_p", "invalid_type"),
    ({"n": 0}, "n", "invalid_type"),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"n": True}, "n", "invalid_type"),
    ({"seed": "7"}, "seed", "invalid_type"),
    ({"stop": 7}, "stop", "invalid_type"),
    ({"stop": ["a", 7]}, "stop", "invalid_type"),
    ({"tools": "all"}, "tools", "invalid_type"),
    ({"tools": {}}, "tools", "invalid_type"),
    ({"stream_options": "usage"}, "stream_options", "invalid_type"),
]
MESSAGES = [
    ({"messages": None}, "messages", "missing_messages"),
    ({"messages": []}, "messages", "missing_messages"),
    ({"messages": "Hello"}, "messages", "missing_messages"),
    ({"messages": [USER, "Hello"]}, "messages[1]", "invalid_type"),
    ({"messages": [{"content": "Hello"}]}, "messages[0].role", "missing_role"),
    ({"messages": [{"role": "", "content": "Hello"}]}, "messages[0].role", "missing_role"),
    ({"messages": [{"role": 7, "content": "Hello"}]}, "messages[0].role", "missing_role"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": ["Hello"]}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}, "messages[0].content", "invalid_type"),
]
BAD = [
    *((check, *case) for check in GOOD for case in EVERYWHERE),
    *((check, *case) for check in (check_chat, check_message) for case in MESSAGES),
    (check_chat, {"max_tokens": "many"}, "max_tokens", "invalid_type"),
    (check_chat, {"max_completion_tokens": 1.5}, "max_completion_tokens", "invalid_type"),
    (check_chat, {"response_format": "json"}, "response_format", "invalid_type"),
    (check_completion, {"prompt": None}, "prompt", "missing_prompt"),
    (check_completion, {"prompt": 7}, "prompt", "invalid_type"),
    (check_completion, {"prompt": []}, "prompt", "invalid_type"),
    (check_completion, {"prompt": {"prompt_string": "x"}}, "prompt", "invalid_type"),
    (check_response, {"input": None}, "input", "missing_input"),
    (check_response, {"input": ""}, "input", "invalid_type"),
    (check_response, {"input": []}, "input", "invalid_type"),
    (check_response, {"input": 7}, "input", "invalid_type"),
    (check_response, {"input": ["Hello"]}, "input", "invalid_type"),
    (check_response, {"previous_response_id": "r"}, "previous_response_id", "unsupported_parameter"),
    (check_response, {"conversation": {"id": "c"}}, "conversation", "unsupported_parameter"),
    (check_response, {"background": True}, "background", "unsupported_parameter"),
    (check_response, {"max_output_tokens": "many"}, "max_output_tokens", "invalid_type"),
    (check_message, {"max_tokens": None}, "max_tokens", "missing_max_tokens"),
    (check_message, {"max_tokens": 0}, "max_tokens", "invalid_type"),
    (check_message, {"max_tokens": "many"}, "max_tokens", "invalid_type"),
]


@pytest.mark.parametrize(("check", "changes", "param", "code"), BAD)
def test_a_bad_field_is_named(check: Check, changes: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check({"model": "m", **GOOD[check], **changes})
    assert (refused.value.param, refused.value.code) == (param, code)
    assert param.partition("[")[0] in refused.value.message
