"""Ranking by MiniLM through both hops: real sentences in their order, and each kind of bad input named."""

from __future__ import annotations

import itertools
from typing import Any

import aiohttp
import pytest

from tests.stack import EMBEDDING_ALIAS, EMBEDDING_MODEL, MODEL, Stack

pytestmark = pytest.mark.engine
QUERY = "How do plants make food from sunlight?"
DOCUMENTS = [
    "The stock market fell sharply on Tuesday after the bank's announcement.",
    "Leaves turn light into sugar by photosynthesis, using water and carbon dioxide.",
    "She plays the violin in the city's orchestra.",
    "A vegetable garden wants at least six hours of sunshine a day.",
]
BEST_FIRST = [1, 3]  # and the others somewhere behind
ASKED: dict[str, Any] = {"model": EMBEDDING_MODEL, "query": QUERY, "documents": DOCUMENTS}


@pytest.fixture(params=["gateway", "node"])
def base(keyless_stack: Stack, request: pytest.FixtureRequest) -> str:
    return keyless_stack.gateway_url if request.param == "gateway" else keyless_stack.nodes[0].url


async def _rank(session: aiohttp.ClientSession, base: str, path: str = "/v1", **changes: Any) -> tuple[int, Any]:
    body = {name: value for name, value in {**ASKED, **changes}.items() if value is not ...}
    async with session.post(f"{base}{path}/rerank", json=body) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("path", ["/v1", "/v1-openai"])
async def test_sentences_come_best_first(session: aiohttp.ClientSession, base: str, path: str) -> None:
    status, body = await _rank(session, base, path)
    assert status == 200, body
    results = body["results"]
    assert [result["index"] for result in results][:2] == BEST_FIRST
    assert sorted(result["index"] for result in results) == [0, 1, 2, 3]
    scores = [result["relevance_score"] for result in results]
    assert all(first >= second for first, second in itertools.pairwise(scores))
    assert all(-1 <= score <= 1.0001 for score in scores)
    assert scores[0] - scores[2] > 0.2, "what answers stands out"
    assert body["model"] == EMBEDDING_MODEL
    assert body["usage"]["total_tokens"] > 20
    assert all("document" not in result for result in results)


async def test_objects_count_as_their_texts(session: aiohttp.ClientSession, base: str) -> None:
    _, plain = await _rank(session, base)
    mixed = [{"text": DOCUMENTS[0]}, DOCUMENTS[1], {"text": DOCUMENTS[2], "id": "x"}, DOCUMENTS[3]]
    _, body = await _rank(session, base, documents=mixed, return_documents=True)
    assert [result["index"] for result in body["results"]] == [result["index"] for result in plain["results"]]
    for result, same in zip(body["results"], plain["results"], strict=True):
        assert result["relevance_score"] == pytest.approx(same["relevance_score"], abs=1e-3)
        assert result["document"] == {"text": DOCUMENTS[result["index"]]}


async def test_the_best_alone_are_given(session: aiohttp.ClientSession, base: str) -> None:
    for top_n, count in ((1, 1), (2, 2), (4, 4), (99, 4), (None, 4)):
        _, body = await _rank(session, base, top_n=top_n)
        assert len(body["results"]) == count
        assert body["results"][0]["index"] == BEST_FIRST[0]


async def test_equal_documents_keep_their_order(session: aiohttp.ClientSession, base: str) -> None:
    _, body = await _rank(session, base, documents=["the same"] * 3, model=EMBEDDING_ALIAS)
    first, *others = [result["relevance_score"] for result in body["results"]]
    assert others == pytest.approx([first] * 2, abs=1e-3)


async def test_many_documents_are_ranked(session: aiohttp.ClientSession, base: str) -> None:
    many = [f"Entry {number} of the list of kings." for number in range(60)]
    many[41] = DOCUMENTS[1]
    status, body = await _rank(session, base, documents=many, top_n=3)
    assert status == 200
    assert body["results"][0]["index"] == 41


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no query": ({"query": ...}, "query", "missing_query"),
    "an empty query": ({"query": ""}, "query", "invalid_query"),
    "a query that is a list": ({"query": [QUERY]}, "query", "invalid_query"),
    "no documents": ({"documents": ...}, "documents", "missing_documents"),
    "0 documents": ({"documents": []}, "documents", "invalid_type"),
    "10,000 documents": ({"documents": ["x"] * 10_000}, "documents", "too_many_documents"),
    "an empty document": ({"documents": ["x", ""]}, "documents[1]", "empty_document"),
    "a document that is a number": ({"documents": ["x", 5]}, "documents[1]", "invalid_type"),
    "a document without text": ({"documents": [{"title": "x"}]}, "documents[0]", "invalid_type"),
    "too long a document": ({"documents": ["x", "word " * 600]}, "documents", "context_length_exceeded"),
    "too long a query": ({"query": "word " * 600}, "query", "context_length_exceeded"),
    "a top_n of zero": ({"top_n": 0}, "top_n", "invalid_type"),
    "a negative top_n": ({"top_n": -1}, "top_n", "invalid_type"),
    "a stream": ({"stream": True}, "stream", "invalid_value"),
    "a model that chats": ({"model": MODEL}, "model", "unsupported_endpoint"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input(session: aiohttp.ClientSession, base: str, name: str) -> None:
    changes, param, code = BAD[name]
    status, body = await _rank(session, base, **changes)
    error = body["error"]
    assert (status, error["param"], error["code"]) == (400, param, code), error
    assert set(error) == {"message", "type", "param", "code"}
    if code == "context_length_exceeded":
        assert f"'{param}'" in error["message"]
        assert "at most 512 tokens" in error["message"]
    assert (await _rank(session, base))[0] == 200, "the engine is alive afterwards"


async def test_what_scores_are_is_said(session: aiohttp.ClientSession, base: str) -> None:
    async with session.get(f"{base}/v1/models/{EMBEDDING_MODEL}") as response:
        item = await response.json()
    assert item["rerank_by"] == "cosine similarity of embeddings"
    assert {"embeddings", "rerank"} <= set(item["endpoints"])
    async with session.get(f"{base}/v1/models/{MODEL}") as response:
        assert "rerank_by" not in await response.json()
