"""What a body of `POST /v1/embeddings` must be like.

Here rather than at the engine, so that what cannot be answered troubles neither a node nor an engine. Not here: whether
an input is too long for a model, which its engine knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.errors import BadRequest

MOST_INPUTS = 2048  # as at OpenAI
HIGHEST_TOKEN = 2**31 - 1  # llama.cpp's are so wide, and it cuts off what is above
FORMATS = ("float", "base64")
_KINDS = "a string, a list of strings, a list of token ids, or a list of such lists"


def check_embedding(body: Mapping[str, Any]) -> None:
    """Raises BadRequest that names the field and the fix."""
    _check_input(body.get("input"))
    if body.get("encoding_format", FORMATS[0]) not in FORMATS:  # null is not among them for llama-server
        raise BadRequest(
            "'encoding_format' must be 'float' or 'base64'.", param="encoding_format", code="invalid_value"
        )
    dimensions = body.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise BadRequest(
            "'dimensions' must be an integer of at least 1.", param="dimensions", code="invalid_dimensions"
        )
    if body.get("stream"):
        raise BadRequest("Embeddings are not streamed; leave 'stream' out.", param="stream", code="invalid_value")


def _check_input(given: Any) -> None:
    if given is None:
        raise BadRequest(f"You must provide an 'input': {_KINDS}.", param="input", code="missing_input")
    if isinstance(given, str):
        _check_text("input", given)
        return
    if not isinstance(given, list):
        raise BadRequest(f"'input' must be {_KINDS}.", param="input", code="invalid_type")
    if not given:
        raise BadRequest("'input' must not be an empty list.", param="input", code="empty_input")
    kinds = set(map(type, given))
    if kinds == {int}:
        _check_tokens("input", given)
        return
    if kinds not in ({str}, {list}):
        raise BadRequest(f"'input' must be {_KINDS}, and not a mixture.", param="input", code="invalid_type")
    if len(given) > MOST_INPUTS:
        raise BadRequest(
            f"'input' has {len(given)} items, and {MOST_INPUTS} is the limit; send them in several requests.",
            param="input",
            code="too_many_inputs",
        )
    check = _check_text if kinds == {str} else _check_tokens
    for index, item in enumerate(given):
        check(f"input[{index}]", item)


def _check_text(where: str, text: str) -> None:
    if not text:
        raise BadRequest(f"'{where}' must not be an empty string.", param=where, code="empty_input")


def _check_tokens(where: str, tokens: list[Any]) -> None:
    """A body may hold millions of them, so nothing here loops in Python."""
    if not tokens:
        raise BadRequest(f"'{where}' must not be an empty list.", param=where, code="empty_input")
    if set(map(type, tokens)) != {int} or min(tokens) < 0 or max(tokens) > HIGHEST_TOKEN:
        text = f"'{where}' must hold token ids: integers from 0 to {HIGHEST_TOKEN}."
        raise BadRequest(text, param=where, code="invalid_type")
