"""What llama-server would take for something else: reworded or refused, and everything else left byte for byte."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from node.engines.llama_requests import reworded
from relay.call import Call
from relay.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES, Endpoint
from relay.errors import BadRequest

USER = {"messages": [{"role": "user", "content": "Hello"}]}
OURS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("first", "second")]
FLAT = [{"type": "function", "name": name, "parameters": {}} for name in ("first", "second")]
THEIRS = [{"name": name, "input_schema": {}} for name in ("first", "second")]


def _call(endpoint: Endpoint, fields: dict[str, Any]) -> Call:
    return Call(endpoint, "m", False, "id", body=b" " + orjson.dumps(fields), fields=fields)


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (CHAT, USER),
        (CHAT, {**USER, "tools": OURS, "tool_choice": "auto"}),
        (CHAT, {**USER, "tools": OURS, "tool_choice": "none"}),
        (CHAT, {**USER, "tools": OURS, "tool_choice": "required"}),
        (RESPONSES, {"input": "Hello", "text": {"format": {"type": "text"}}, "tools": FLAT}),
        (MESSAGES, {**USER, "tools": THEIRS, "tool_choice": {"type": "auto"}}),
        (MESSAGES, {**USER, "tools": THEIRS, "tool_choice": {"type": "any"}}),
        (COMPLETIONS, {"prompt": "Hello", "tool_choice": {"type": "function"}}),
        (EMBEDDINGS, {"input": "Hello"}),
    ],
)
def test_what_it_understands_is_left_as_it_is(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    call = _call(endpoint, fields)
    assert reworded(call, calls_tools=True) is call


@pytest.mark.parametrize(
    ("endpoint", "tools", "choice", "required"),
    [
        (CHAT, OURS, {"type": "function", "function": {"name": "second"}}, "required"),
        (RESPONSES, FLAT, {"type": "function", "name": "second"}, "required"),
        (MESSAGES, THEIRS, {"type": "tool", "name": "second"}, {"type": "any"}),
    ],
)
def test_a_named_tool_becomes_the_only_one(endpoint: Endpoint, tools: Any, choice: Any, required: Any) -> None:
    fields = {**USER, "input": "Hello", "odd": 7, "tools": tools, "tool_choice": choice}
    said = reworded(_call(endpoint, fields), calls_tools=True)
    assert orjson.loads(said.body) == {**fields, "tools": tools[1:], "tool_choice": required} == said.fields


def test_no_tool_is_no_tools_at_all_for_messages() -> None:
    said = reworded(_call(MESSAGES, {**USER, "tools": THEIRS, "tool_choice": {"type": "none"}}), calls_tools=False)
    assert orjson.loads(said.body)["tools"] == []


def test_a_schema_of_responses_becomes_that_of_chat() -> None:
    schema = {"type": "object"}
    text = {"format": {"type": "json_schema", "name": "n", "schema": schema}}
    said = orjson.loads(reworded(_call(RESPONSES, {"input": "x", "text": text}), calls_tools=False).body)
    assert said["response_format"] == {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}


@pytest.mark.parametrize(
    ("endpoint", "fields", "param"),
    [
        (CHAT, {"tools": OURS, "tool_choice": {"type": "function", "function": {"name": "third"}}}, "tool_choice"),
        (CHAT, {"tools": OURS, "tool_choice": {"type": "function", "function": 7}}, "tool_choice"),
        (CHAT, {"tools": [7, {"function": 7}], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        (CHAT, {"tool_choice": "required"}, "tool_choice"),
        (CHAT, {"function_call": "auto"}, "functions"),
        (RESPONSES, {"tools": ["x"]}, "tools[0]"),
        (RESPONSES, {"tools": [{"type": "web_search"}]}, "tools[0]"),
        (RESPONSES, {"tools": FLAT, "tool_choice": {"type": "file_search"}}, "tool_choice"),
        (MESSAGES, {"tools": [{"name": "bash", "type": "bash_20250124"}]}, "tools[0]"),
        (MESSAGES, {"tools": THEIRS, "tool_choice": {"type": "tool", "name": "third"}}, "tool_choice"),
        (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type"),
    ],
)
def test_what_it_would_drop_is_refused(endpoint: Endpoint, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        reworded(_call(endpoint, {**USER, **fields}), calls_tools=True)
    assert refused.value.param == param


def test_a_call_cannot_be_required_of_a_template_without_tools() -> None:
    for choice in ("required", {"type": "function", "function": {"name": "first"}}):
        with pytest.raises(BadRequest, match="no form for calling tools"):
            reworded(_call(CHAT, {**USER, "tools": OURS, "tool_choice": choice}), calls_tools=False)
    reworded(_call(CHAT, {**USER, "tools": OURS}), calls_tools=False)
