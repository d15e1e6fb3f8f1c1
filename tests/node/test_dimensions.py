"""`dimensions`: the first so many numbers of each vector, scaled to length 1 again."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import orjson
import pytest

from node.engines.llama_dimensions import shorten
from relay.errors import BadRequest

USAGE = {"prompt_tokens": 4, "total_tokens": 4}


def _body(*embeddings: Any) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(embeddings)]
    return orjson.dumps({"object": "list", "model": "m", "usage": USAGE, "data": data})


def _text(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_vectors_are_cut_and_scaled() -> None:
    answer = orjson.loads(shorten(_body([0.6, 0.0, 0.8], [3.0, 4.0, 12.0]), 2))
    assert [item["embedding"] for item in answer["data"]] == [[1.0, 0.0], [0.6, 0.8]]
    assert answer["usage"] == USAGE
    assert [item["index"] for item in answer["data"]] == [0, 1]


def test_base64_stays_base64() -> None:
    answer = orjson.loads(shorten(_body(_text(3.0, 4.0, 12.0)), 2))
    vector = struct.unpack("<2f", base64.b64decode(answer["data"][0]["embedding"]))
    assert math.isclose(vector[0], 0.6, abs_tol=1e-6)
    assert math.isclose(vector[1], 0.8, abs_tol=1e-6)


def test_as_many_as_there_are_changes_nothing() -> None:
    body = _body([0.6, 0.8])
    assert shorten(body, 2) is body


def test_a_vector_of_zeros_stays_one() -> None:
    assert orjson.loads(shorten(_body([0.0, 0.0, 1.0]), 2))["data"][0]["embedding"] == [0.0, 0.0]


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(BadRequest, match="have 2"):
        shorten(_body([0.6, 0.8]), 3)
