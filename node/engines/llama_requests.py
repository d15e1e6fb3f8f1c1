"""What llama-server would silently take for something else: said in words that it knows, or refused.

It drops a tool that is named as the choice, a schema of the Responses API, blocks and tools of kinds that it does not
know, and answers as if they had not been asked for. Not here: media (llama_media), and what it refuses itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from relay.call import Call
from relay.endpoints import CHAT, MESSAGES, RESPONSES
from relay.errors import BadRequest

Fields = Mapping[str, Any]
_BLOCKS = ("text", "thinking", "redacted_thinking", "image", "tool_use", "tool_result")
_SOURCES = ("base64", "url")


def reworded(call: Call, calls_tools: bool) -> Call:
    """The call as llama-server understands it; the same one where it does. Raises BadRequest for what it cannot do.

    `calls_tools`: the model's chat template has a form for calling tools.
    """
    reword = _REWORD.get(call.endpoint.name)
    if reword is None:
        return call
    changes = reword(call.fields)
    fields = {**call.fields, **changes}
    choice = fields.get("tool_choice")
    if choice == "required" or (isinstance(choice, dict) and choice.get("type") != "auto"):
        _check_required(fields, calls_tools)
    return call if not changes else replace(call, fields=fields, body=orjson.dumps(fields))


def _check_required(fields: Fields, calls_tools: bool) -> None:
    if not fields.get("tools"):
        raise _refused("tool_choice", "'tool_choice' asks for a call, and 'tools' names no tool; send some.")
    if not calls_tools:
        raise _refused(
            "tool_choice",
            "This model's chat template has no form for calling tools, so 'tool_choice' cannot be kept; "
            "leave it out, or ask another model.",
        )


def _chat(fields: Fields) -> Fields:
    if fields.get("functions") or fields.get("function_call"):
        raise _refused("functions", "'functions' and 'function_call' are not known here; use 'tools'.")
    choice = fields.get("tool_choice")
    if not isinstance(choice, dict):
        return {}
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    return _only(fields, name, lambda tool: _inner(tool).get("name"))


def _inner(tool: Any) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function if isinstance(function, dict) else {}


def _responses(fields: Fields) -> Fields:
    for index, tool in enumerate(fields.get("tools") or ()):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            where = f"tools[{index}]"
            raise _refused(where, f"'{where}' is no function; this model can be given functions alone.")
    changes: dict[str, Any] = {}
    text = fields.get("text")
    wanted = text.get("format") if isinstance(text, dict) else None
    if isinstance(wanted, dict) and wanted.get("type") in ("json_schema", "json_object"):
        schema = {"name": wanted.get("name"), "schema": wanted.get("schema")}
        changes["response_format"] = {"type": wanted["type"], "json_schema": schema}
    if isinstance(choice := fields.get("tool_choice"), dict):
        changes |= _only(fields, choice.get("name"), lambda tool: tool.get("name"))
    return changes


def _messages(fields: Fields) -> Fields:
    for index, message in enumerate(fields["messages"]):
        if isinstance(message.get("content"), list):
            _check_blocks(f"messages[{index}].content", message["content"])
    for index, tool in enumerate(fields.get("tools") or ()):
        if not isinstance(tool, dict) or not isinstance(tool.get("input_schema"), dict):
            where = f"tools[{index}]"
            raise _refused(where, f"'{where}' has no 'input_schema'; this model can be given tools of your own alone.")
    choice = fields.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "none":
        return {"tools": [], "tool_choice": {"type": "auto"}}
    if kind != "tool" or not isinstance(choice, dict):
        return {}
    chosen = _only(fields, choice.get("name"), lambda tool: tool.get("name"))
    return {**chosen, "tool_choice": {"type": "any"}}


def _check_blocks(where: str, blocks: list[dict[str, Any]]) -> None:
    for index, block in enumerate(blocks):
        kind = block.get("type")
        if kind not in _BLOCKS:
            text = f"'{where}[{index}].type' is {kind!r}; this model takes {', '.join(_BLOCKS)}."
            raise _refused(f"{where}[{index}].type", text)
        source = block.get("source")
        if kind == "image" and (not isinstance(source, dict) or source.get("type") not in _SOURCES):
            text = f"'{where}[{index}].source' must be of type 'base64', with 'media_type' and 'data'."
            raise _refused(f"{where}[{index}].source", text)


def _only(fields: Fields, name: Any, name_of: Callable[[Any], Any]) -> dict[str, Any]:
    """That one tool and no other, and a call required."""
    chosen = [tool for tool in fields.get("tools") or () if isinstance(name, str) and name_of(tool) == name]
    if not chosen:
        raise _refused("tool_choice", "'tool_choice' must be 'auto', 'none', 'required', or name one of 'tools'.")
    return {"tools": chosen, "tool_choice": "required"}


def _refused(param: str, message: str) -> BadRequest:
    return BadRequest(message, param=param, code="unsupported_value")


_REWORD: Mapping[str, Callable[[Fields], Fields]] = {
    CHAT.name: _chat,
    RESPONSES.name: _responses,
    MESSAGES.name: _messages,
}
