"""Checks of single fields of a JSON body, in the words of OpenAI's errors.

Not here: what an endpoint asks for (the `*_input` files).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relay.errors import BadRequest


def require(body: Mapping[str, Any], name: str, good: Callable[[Any], bool], what: str) -> None:
    """Where the field is given and not null, it must be good, and no boolean. Raises BadRequest."""
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not good(value)):
        raise BadRequest(f"'{name}' must be {what}.", param=name, code="invalid_type")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def is_integer(value: Any) -> bool:
    return isinstance(value, int)


def is_text(value: Any) -> bool:
    return isinstance(value, str)
