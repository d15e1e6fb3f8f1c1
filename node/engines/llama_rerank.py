"""Ranking documents with llama-server: by a reranker, or by how near an embedding model puts them to the query.

The answer is Jina's either way: `results` best first, each with `index`, `relevance_score` and, if asked for, the
document. Not here: what a body must be like (relay.rerank_input).
"""

from __future__ import annotations

import asyncio
import base64
import math
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson

from relay.answer import Answer, Made, Relayed
from relay.call import Call
from relay.endpoints import EMBEDDINGS
from relay.errors import BadRequest
from relay.rerank_input import texts_of

BY_EMBEDDING = "cosine similarity of embeddings"
BY_MODEL = "reranker"
_LIMIT_BYTES = 256 * 1024 * 1024

Forward = Callable[[Call], Awaitable[Relayed]]


async def rank_by_model(forward: Forward, call: Call) -> Answer:
    """By a cross-encoder, which reads query and document together. Raises ApiError."""
    asked = {"query": call.fields["query"], "documents": texts_of(call.fields)}
    answer = await _whole(forward, replace(call, body=orjson.dumps(asked)))
    scores = {result["index"]: float(result["relevance_score"]) for result in answer["results"]}
    return _made(call, [scores[index] for index in range(len(scores))], answer["usage"]["total_tokens"])


async def rank_by_embedding(forward: Forward, call: Call) -> Answer:
    """By the cosine of the angle between query and document: -1 to 1. Raises ApiError."""
    texts = [call.fields["query"], *texts_of(call.fields)]
    asked = {"model": call.model, "input": texts, "encoding_format": "base64"}
    answer = await _whole(forward, replace(call, endpoint=EMBEDDINGS, body=orjson.dumps(asked)))
    scores = await asyncio.to_thread(_cosines, answer["data"])
    return _made(call, scores, answer["usage"]["total_tokens"])


async def _whole(forward: Forward, call: Call) -> Any:
    try:
        async with await forward(call) as answer:
            return orjson.loads(await answer.whole(_LIMIT_BYTES))
    except BadRequest as error:
        if error.code != "context_length_exceeded":
            raise
        raise _too_long(call, error.message) from error


def _too_long(call: Call, why: str) -> BadRequest:
    """llama-server does not say which text it was."""
    texts = texts_of(call.fields)
    longest = max(range(len(texts)), key=lambda index: len(texts[index]))
    if len(call.fields["query"]) > len(texts[longest]):
        return BadRequest(f"'query' is too long for this model: {why}", param="query", code="context_length_exceeded")
    text = f"'documents' has one that is too long for this model (the longest is documents[{longest}]): {why}"
    return BadRequest(text, param="documents", code="context_length_exceeded")


def _cosines(data: Sequence[dict[str, Any]]) -> list[float]:
    """Of every vector with the first one."""
    query, *documents = [_unit(item["embedding"]) for item in sorted(data, key=lambda item: item["index"])]
    return [sum(map(float.__mul__, query, document)) for document in documents]


def _unit(encoded: str) -> list[float]:
    raw = base64.b64decode(encoded)
    vector = struct.unpack(f"<{len(raw) // 4}f", raw)
    length = math.hypot(*vector) or 1.0
    return [number / length for number in vector]


def _made(call: Call, scores: Sequence[float], tokens: int) -> Made:
    best_first = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in best_first]
    results = results[: call.fields.get("top_n")]
    if call.fields.get("return_documents"):
        texts = texts_of(call.fields)
        for result in results:
            result["document"] = {"text": texts[result["index"]]}
    usage = {"total_tokens": tokens, "prompt_tokens": tokens}
    return Made(orjson.dumps({"model": call.model, "object": "list", "usage": usage, "results": results}))
