"""What the bodies of chat, completions, responses and messages must be like, before anybody is troubled with them.

Not here: what a model can do with it, which its engine knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relay.errors import BadRequest
from relay.fields import is_integer, is_number, require

NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
INTEGERS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "seed", "top_logprobs")
_NOT_KEPT = {  # of the Responses API
    "previous_response_id": "send the whole conversation in 'input'",
    "conversation": "send the whole conversation in 'input'",
    "background": "wait for the response, or stream it,",
}
OBJECTS = ("stream_options", "response_format", "logit_bias")


def check_chat(body: Mapping[str, Any]) -> None:
    """OpenAI's chat completions. Raises BadRequest that names the field and the fix."""
    _check_options(body)
    _check_messages(body)


def check_completion(body: Mapping[str, Any]) -> None:
    """OpenAI's completions. Raises BadRequest."""
    _check_options(body)
    prompt = body.get("prompt")
    if prompt is None:
        raise BadRequest("You must provide a 'prompt'.", param="prompt", code="missing_prompt")
    if not (isinstance(prompt, str) or (isinstance(prompt, list) and prompt)):
        raise BadRequest("'prompt' must be a string or a non-empty list.", param="prompt", code="invalid_type")


def check_response(body: Mapping[str, Any]) -> None:
    """OpenAI's responses. Raises BadRequest."""
    _check_options(body)
    given = body.get("input")
    if given is None:
        raise BadRequest("You must provide an 'input'.", param="input", code="missing_input")
    good = all(isinstance(item, dict) for item in given) if isinstance(given, list) else isinstance(given, str)
    if not good or not given:
        raise BadRequest(
            "'input' must be a string or a list of items, and not empty.", param="input", code="invalid_type"
        )
    for name, instead in _NOT_KEPT.items():
        if body.get(name):
            text = f"Nothing is kept between calls here; {instead} instead of '{name}'."
            raise BadRequest(text, param=name, code="unsupported_parameter")


def check_message(body: Mapping[str, Any]) -> None:
    """Anthropic's messages. Raises BadRequest."""
    _check_options(body)
    _check_messages(body)
    if body.get("max_tokens") is None:
        raise BadRequest("You must provide 'max_tokens'.", param="max_tokens", code="missing_max_tokens")
    require(body, "max_tokens", lambda value: value >= 1, "at least 1")


def _check_options(body: Mapping[str, Any]) -> None:
    for name in body:  # not all the options that there are: most bodies have two or three of them
        for good, what in _OPTIONS.get(name, ()):
            require(body, name, good, what)


def _is_stop(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


_OPTIONS: Mapping[str, Sequence[tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(NUMBERS, ((is_number, "a number"),)),
    **dict.fromkeys(INTEGERS, ((is_integer, "an integer"),)),
    **dict.fromkeys(OBJECTS, ((lambda value: isinstance(value, dict | list), "an object"),)),
    "tools": [(lambda value: isinstance(value, list), "a list")],
    "n": [(is_integer, "an integer"), (lambda value: value >= 1, "at least 1")],
    "stop": [(_is_stop, "a string or a list of strings")],
}


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a non-empty list of messages.", param="messages", code="missing_messages")
    for index, message in enumerate(messages):
        _check_one(f"messages[{index}]", message)


def _check_one(where: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise BadRequest(f"'{where}' must be an object with 'role' and 'content'.", param=where, code="invalid_type")
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise BadRequest(
            f"'{where}' needs a 'role', such as system, user or assistant.", param=f"{where}.role", code="missing_role"
        )
    content = message.get("content")
    if isinstance(content, list):
        good = all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)
    else:
        good = content is None or isinstance(content, str)
    if not good:
        raise BadRequest(
            f"'{where}.content' must be a string or a list of typed parts.",
            param=f"{where}.content",
            code="invalid_type",
        )
