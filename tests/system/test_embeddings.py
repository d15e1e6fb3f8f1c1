"""Embeddings through gateway and node, to a real model, with the official clients."""

from __future__ import annotations

import asyncio
import base64
import math
import os
import signal
import struct
from pathlib import Path
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from tests.node.agent import agent
from tests.programs import ROOT, until
from tests.stack import EMBEDDING_ALIAS, EMBEDDING_MODEL, EMBEDDING_WEIGHTS, Stack

pytestmark = pytest.mark.engine
SIZE = 384
WORDS = "Hello world"
TOKENS = [101, 7592, 2088, 102]  # the same, as the model's vocabulary has it


@pytest.fixture
def client(stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=stack.base_url, api_key="any key does", max_retries=0)


async def _vectors(client: AsyncOpenAI, given: Any, **more: Any) -> list[list[float]]:
    made = await client.embeddings.create(model=EMBEDDING_MODEL, input=given, **more)
    assert [item.index for item in made.data] == list(range(len(made.data)))
    return [item.embedding for item in made.data]


def _cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def _close(one: list[float], other: list[float]) -> bool:
    return one == pytest.approx(other, abs=1e-5)


async def test_a_string_becomes_a_vector_of_length_one(client: AsyncOpenAI) -> None:
    made = await client.embeddings.create(model=EMBEDDING_MODEL, input=WORDS)
    assert (made.object, made.model, len(made.data)) == ("list", EMBEDDING_MODEL, 1)
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (4, 4)
    vector = made.data[0].embedding
    assert len(vector) == SIZE
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)


async def test_meaning_is_near_meaning(client: AsyncOpenAI) -> None:
    """The first three cosines are those of the model's own page: 0.695, 0.943, 0.257."""
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    first, *others = await _vectors(client, sentences)
    assert [_cosine(first, other) for other in others] == pytest.approx([0.695, 0.943, 0.257], abs=0.005)
    question, *answers = await _vectors(
        client,
        [
            "How do I reset my password?",
            "To change a forgotten password, follow the link on the sign-in page.",
            "Our office is closed on public holidays.",
            "The cat sleeps on the warm windowsill.",
        ],
    )
    near = [_cosine(question, answer) for answer in answers]
    assert near[0] > 0.5 > 0.2 > max(near[1:])


async def test_strings_tokens_and_lists_of_them_are_the_same(client: AsyncOpenAI) -> None:
    (text,) = await _vectors(client, WORDS)
    for given in ([WORDS, "Other"], [TOKENS, [101, 102]]):
        first, second = await _vectors(client, given)
        assert _close(first, text)
        assert not _close(second, text)
    (tokens,) = await _vectors(client, TOKENS)
    assert _close(tokens, text)


async def test_base64_holds_the_same_numbers(client: AsyncOpenAI, stack: Stack) -> None:
    (numbers,) = await _vectors(client, WORDS, encoding_format="float")
    (decoded,) = await _vectors(client, WORDS)  # the client asks for base64 by itself
    assert _close(numbers, decoded)
    async with aiohttp.ClientSession() as session:
        body = {"model": EMBEDDING_MODEL, "input": WORDS, "encoding_format": "base64"}
        async with session.post(f"{stack.base_url}/embeddings", json=body) as response:
            text = (await response.json())["data"][0]["embedding"]
    assert _close(list(struct.unpack(f"<{SIZE}f", base64.b64decode(text))), numbers)


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_dimensions_are_the_first_ones_at_length_one(client: AsyncOpenAI, encoding: Any) -> None:
    (whole,) = await _vectors(client, WORDS)
    made = await client.embeddings.create(
        model=EMBEDDING_MODEL, input=[WORDS, "Other"], dimensions=64, encoding_format=encoding
    )
    assert made.usage.prompt_tokens == 7
    found: Any = made.data[0].embedding
    short = list(struct.unpack("<64f", base64.b64decode(found))) if isinstance(found, str) else found
    assert len(short) == 64
    assert math.hypot(*short) == pytest.approx(1, abs=1e-4)
    assert _cosine(short, whole[:64]) == pytest.approx(1, abs=1e-4)
    (same,) = await _vectors(client, WORDS, dimensions=SIZE)
    assert _close(same, whole)
    with pytest.raises(openai.BadRequestError, match="384") as refused:
        await _vectors(client, WORDS, dimensions=SIZE + 1)
    assert (refused.value.param, refused.value.code) == ("dimensions", "invalid_dimensions")


async def test_a_batch_keeps_its_order(client: AsyncOpenAI) -> None:
    sentences = [f"Sentence number {number} is about {'cats' if number % 2 else 'ships'}." for number in range(200)]
    made = await client.embeddings.create(model=EMBEDDING_MODEL, input=sentences)
    assert [item.index for item in made.data] == list(range(200))
    assert made.usage.prompt_tokens > 200 * 8
    for number in (0, 99, 199):
        (alone,) = await _vectors(client, sentences[number])
        assert _cosine(made.data[number].embedding, alone) > 0.999


async def test_many_at_once(client: AsyncOpenAI) -> None:
    found = await asyncio.gather(*(_vectors(client, [WORDS, f"Number {number}"]) for number in range(24)))
    assert all(_cosine(vectors[0], found[0][0]) > 0.999 for vectors in found)


async def test_every_name_and_base_leads_there(stack: Stack) -> None:
    item = await AsyncOpenAI(base_url=stack.base_url, api_key="x").models.retrieve(EMBEDDING_MODEL)
    told = item.model_dump()
    assert (told["endpoints"], told["aliases"], told["context_length"]) == (
        ["embeddings", "proxy", "rerank"],
        [EMBEDDING_ALIAS],
        512,
    )
    for base in ("/v1", "/v1-openai", f"/vm/{stack.nodes[0].key}/v1", f"/vm/{stack.nodes[0].key}/v1-openai"):
        client = AsyncOpenAI(base_url=stack.gateway_url + base, api_key="x", max_retries=0)
        for name in (EMBEDDING_ALIAS, f"{EMBEDDING_MODEL}@{told['weights_sha256'][:8]}"):
            made = await client.embeddings.with_raw_response.create(model=name, input=WORDS)
            assert made.headers["Waypost-Node"] == stack.nodes[0].key
            assert len(made.parse().data[0].embedding) == SIZE


async def test_the_client_for_node(stack: Stack) -> None:
    asked = ("node", "embeddings.mjs", stack.base_url, EMBEDDING_MODEL)
    process = await asyncio.create_subprocess_exec(
        *asked, cwd=ROOT / "tests" / "clients", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().split() == ["2", str(SIZE), "7"]


async def test_an_engine_killed_between_requests_is_not_noticed(tmp_path: Path) -> None:
    async with agent(tmp_path, {EMBEDDING_MODEL: {"uri": str(EMBEDDING_WEIGHTS)}}) as node:
        client = AsyncOpenAI(base_url=f"{node.url}/v1", api_key="x", max_retries=0)
        (before,) = await _vectors(client, WORDS)
        (pid,) = node.engines()
        os.kill(pid, signal.SIGKILL)
        (after,) = await _vectors(client, WORDS)
        assert _close(before, after)
        await until(lambda: node.engines() not in ([], [pid]), lambda: "another engine")


async def test_a_chat_model_embeds_where_it_is_told_to(tmp_path: Path, weights: Path) -> None:
    """A causal model pools its last token: an input may be longer than a batch."""
    models = {"smollm2": {"uri": str(weights), "kind": "embedding", "context": 1024, "parallel": 1}}
    async with agent(tmp_path, models) as node:
        client = AsyncOpenAI(base_url=f"{node.url}/v1", api_key="x", max_retries=0)
        made = await client.embeddings.create(model="smollm2", input=["Hello", "word " * 600])
        assert made.usage.prompt_tokens > 600
        assert [len(item.embedding) for item in made.data] == [576, 576]
        with pytest.raises(openai.BadRequestError) as refused:
            await client.embeddings.create(model="smollm2", input="word " * 2000)
        assert refused.value.code == "context_length_exceeded"


async def test_the_openapi_documents_have_it(stack: Stack, session: aiohttp.ClientSession) -> None:
    for base in (stack.gateway_url, stack.nodes[0].url):
        async with session.get(f"{base}/openapi.json") as response:
            document = orjson.loads(await response.read())
        schema = document["components"]["schemas"]["embeddings.request"]
        assert schema["required"] == ["input"]
        assert [named["required"] for named in schema["anyOf"]] == [["model"], ["models"]]
        for prefix in ("/v1", "/v1-openai"):
            operation = document["paths"][f"{prefix}/embeddings"]["post"]
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/embeddings.request"}
