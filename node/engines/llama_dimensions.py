"""OpenAI's `dimensions` for embeddings, which llama-server does not know: shorter vectors of the same length.

OpenAI's way is kept: the first so many numbers, scaled to length 1 again. Not here: asking llama-server.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from typing import Any

import orjson

from relay.errors import BadRequest


def shorten(body: bytes, dimensions: int) -> bytes:
    """The answer with vectors of `dimensions` numbers. Raises BadRequest where the model has fewer."""
    answer = orjson.loads(body)
    items: list[dict[str, Any]] = answer["data"]
    vectors = [_read(item["embedding"]) for item in items]
    size = min(map(len, vectors), default=dimensions)
    if dimensions > size:
        raise BadRequest(
            f"'dimensions' is {dimensions}, and this model's embeddings have {size}; ask for at most that.",
            param="dimensions",
            code="invalid_dimensions",
        )
    if dimensions == size:
        return body
    for item, vector in zip(items, vectors, strict=True):
        item["embedding"] = _written(_unit(vector[:dimensions]), as_text=isinstance(item["embedding"], str))
    return orjson.dumps(answer)


def _read(embedding: str | list[float]) -> Sequence[float]:
    """A list of numbers, or 32-bit floats in base64."""
    if not isinstance(embedding, str):
        return embedding
    raw = base64.b64decode(embedding)
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [number / length for number in vector] if length else list(vector)


def _written(vector: list[float], *, as_text: bool) -> str | list[float]:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if as_text else vector
