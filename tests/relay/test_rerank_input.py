"""What a ranking's body must be like, and how what is not so is named."""

from __future__ import annotations

from typing import Any

import pytest

from relay.errors import BadRequest
from relay.rerank_input import MOST_DOCUMENTS, check_rerank, texts_of

GOOD: dict[str, Any] = {"model": "m", "query": "q", "documents": ["a", "b"]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"documents": [{"text": "a"}, "b", {"text": "c", "title": "kept out"}]},
        {"documents": ["x"] * MOST_DOCUMENTS},
        {"top_n": 1},
        {"top_n": 99},
        {"top_n": None, "return_documents": None, "stream": False},
        {"return_documents": True},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_good_bodies_are_taken(changes: dict[str, Any]) -> None:
    check_rerank({**GOOD, **changes})


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"query": None}, "query", "missing_query"),
        ({"query": ""}, "query", "invalid_query"),
        ({"query": "  \n"}, "query", "invalid_query"),
        ({"query": 7}, "query", "invalid_query"),
        ({"query": ["q"]}, "query", "invalid_query"),
        ({"documents": None}, "documents", "missing_documents"),
        ({"documents": []}, "documents", "invalid_type"),
        ({"documents": "a"}, "documents", "invalid_type"),
        ({"documents": {"text": "a"}}, "documents", "invalid_type"),
        ({"documents": ["x"] * 10_000}, "documents", "too_many_documents"),
        ({"documents": ["a", ""]}, "documents[1]", "empty_document"),
        ({"documents": ["a", " "]}, "documents[1]", "empty_document"),
        ({"documents": [{"text": ""}]}, "documents[0]", "empty_document"),
        ({"documents": ["a", 7]}, "documents[1]", "invalid_type"),
        ({"documents": ["a", None]}, "documents[1]", "invalid_type"),
        ({"documents": [{"image": "data:"}]}, "documents[0]", "invalid_type"),
        ({"documents": [["a"]]}, "documents[0]", "invalid_type"),
        ({"top_n": 0}, "top_n", "invalid_type"),
        ({"top_n": -1}, "top_n", "invalid_type"),
        ({"top_n": 1.5}, "top_n", "invalid_type"),
        ({"top_n": True}, "top_n", "invalid_type"),
        ({"top_n": "3"}, "top_n", "invalid_type"),
        ({"return_documents": "yes"}, "return_documents", "invalid_type"),
        ({"return_documents": 1}, "return_documents", "invalid_type"),
        ({"stream": True}, "stream", "invalid_value"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_field_is_named(changes: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_rerank({**GOOD, **changes})
    assert (refused.value.param, refused.value.code) == (param, code)
    assert param.partition("[")[0] in refused.value.message


def test_texts_are_those_of_strings_and_objects() -> None:
    assert texts_of({"documents": ["a", {"text": "b", "id": 7}]}) == ["a", "b"]
