"""What an embedding's body must be like, and how what is not so is named."""

from __future__ import annotations

from typing import Any

import pytest

from relay.embedding_input import MOST_INPUTS, check_embedding
from relay.errors import BadRequest


@pytest.mark.parametrize(
    "changes",
    [
        {"input": "Hello"},
        {"input": ["Hello", "World"]},
        {"input": [1, 2, 3]},
        {"input": [[1, 2], [0]]},
        {"input": ["x"] * MOST_INPUTS},
        {"input": [7] * (MOST_INPUTS + 1)},
        {"encoding_format": "float", "dimensions": 8, "user": "me"},
        {"encoding_format": "base64", "dimensions": None, "stream": False},
    ],
    ids=str,
)
def test_good_bodies_are_taken(changes: dict[str, Any]) -> None:
    check_embedding({"model": "m", "input": "x", **changes})


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"input": None}, "input", "missing_input"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": {"text": "x"}}, "input", "invalid_type"),
        ({"input": True}, "input", "invalid_type"),
        ({"input": ""}, "input", "empty_input"),
        ({"input": []}, "input", "empty_input"),
        ({"input": ["a", ""]}, "input[1]", "empty_input"),
        ({"input": [[1], []]}, "input[1]", "empty_input"),
        ({"input": ["a", 1]}, "input", "invalid_type"),
        ({"input": ["a", [1]]}, "input", "invalid_type"),
        ({"input": [None]}, "input", "invalid_type"),
        ({"input": [1.5]}, "input", "invalid_type"),
        ({"input": [True]}, "input", "invalid_type"),
        ({"input": [1, -2]}, "input", "invalid_type"),
        ({"input": [1, 2**31]}, "input", "invalid_type"),
        ({"input": [[1, "a"]]}, "input[0]", "invalid_type"),
        ({"input": [[1], [[2]]]}, "input[1]", "invalid_type"),
        ({"input": ["x"] * (MOST_INPUTS + 1)}, "input", "too_many_inputs"),
        ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"encoding_format": ["float"]}, "encoding_format", "invalid_value"),
        ({"dimensions": 0}, "dimensions", "invalid_dimensions"),
        ({"dimensions": -3}, "dimensions", "invalid_dimensions"),
        ({"dimensions": 1.5}, "dimensions", "invalid_dimensions"),
        ({"dimensions": True}, "dimensions", "invalid_dimensions"),
        ({"dimensions": "8"}, "dimensions", "invalid_dimensions"),
        ({"stream": True}, "stream", "invalid_value"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_field_is_named(changes: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_embedding({"model": "m", "input": "x", **changes})
    assert (refused.value.param, refused.value.code) == (param, code)
    assert param.partition("[")[0] in refused.value.message
