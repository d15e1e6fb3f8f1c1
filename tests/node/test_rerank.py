"""Ranking by a cross-encoder: MiniLM with a head of random weights, so the scores mean nothing and their order all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter, PoolingType

from tests.node.agent import Agent, agent
from tests.stack import EMBEDDING_WEIGHTS

pytestmark = pytest.mark.engine
DOCUMENTS = ["A cat sleeps.", "The market fell.", "Rain tomorrow.", "A dog barks."]


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    folder = tmp_path_factory.mktemp("rerank")
    weights = folder / "ranker.gguf"
    await asyncio.to_thread(_write_ranker, EMBEDDING_WEIGHTS, weights)
    async with agent(folder, {"ranker": {"uri": str(weights)}}) as made:
        yield made


def _write_ranker(embedding: Path, ranker: Path) -> None:
    """The same encoder, with a head that gives a text one number."""
    reader = GGUFReader(embedding)
    writer = GGUFWriter(ranker, "bert")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "bert.pooling_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(
            field.name, field.contents(), kind, field.types[-1] if kind == GGUFValueType.ARRAY else None
        )
    writer.add_pooling_type(PoolingType.RANK)
    random = np.random.default_rng(5)
    width = next(tensor.shape[0] for tensor in reader.tensors if tensor.name == "token_embd.weight")
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.add_tensor("cls.weight", random.normal(size=(width, width)).astype(np.float32))
    writer.add_tensor("cls.bias", np.zeros(width, dtype=np.float32))
    writer.add_tensor("cls.output.weight", random.normal(size=(1, width)).astype(np.float32))
    writer.add_tensor("cls.output.bias", np.zeros(1, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


async def _rank(session: aiohttp.ClientSession, served: Agent, **changes: Any) -> tuple[int, Any]:
    body = {"model": "ranker", "query": "Which animal?", "documents": DOCUMENTS, **changes}
    async with session.post(f"{served.url}/v1/rerank", json=body) as response:
        return response.status, await response.json()


async def test_its_scores_stay_with_their_documents(served: Agent, session: aiohttp.ClientSession) -> None:
    status, body = await _rank(session, served)
    assert status == 200, body
    scores = {result["index"]: result["relevance_score"] for result in body["results"]}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert len({round(score, 3) for score in scores.values()}) == 4
    turned = [{"text": text} for text in reversed(DOCUMENTS)]
    _, body = await _rank(session, served, documents=turned, top_n=3, return_documents=True)
    assert len(body["results"]) == 3
    for result in body["results"]:
        assert result["relevance_score"] == pytest.approx(scores[3 - result["index"]], abs=1e-3)
        assert result["document"] == turned[result["index"]]


async def test_it_says_how_it_ranks_and_does_nothing_else(served: Agent, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{served.url}/v1/models/ranker") as response:
        item = await response.json()
    assert (item["rerank_by"], item["endpoints"]) == ("reranker", ["proxy", "rerank"])
    async with session.post(f"{served.url}/v1/embeddings", json={"model": "ranker", "input": "x"}) as response:
        assert (await response.json())["error"]["code"] == "unsupported_endpoint"


async def test_what_is_too_long_is_named(served: Agent, session: aiohttp.ClientSession) -> None:
    for changes, param in (({"documents": ["x", "word " * 600]}, "documents"), ({"query": "word " * 600}, "query")):
        status, body = await _rank(session, served, **changes)
        assert (status, body["error"]["param"], body["error"]["code"]) == (400, param, "context_length_exceeded")
    assert (await _rank(session, served))[0] == 200
