"""What a host on the network answers: its JSON, and its words fit for a line. Pure.

Not here: asking (aleph.host, evm.rpc).
"""

from __future__ import annotations

import json
from typing import Any

import orjson

__all__ = ["one_line", "read_json"]


def read_json(text: str | bytes) -> Any:
    """Any JSON; what one poster wrote must not spoil what stands beside it. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text)  # takes lone surrogates and endless numbers
        except RecursionError as error:
            raise ValueError("nested too deep") from error


def one_line(text: str, limit: int = 300) -> str:
    """A host's words, fit for a terminal."""
    clean = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * limit]).split())
    return clean if len(clean) <= limit else clean[:limit] + "..."
