"""JSON by a schema, log probabilities and several choices, with the official client through both hops.

Each is shown by what it does to the answer. Tools and reasoning: test_tools.
"""

from __future__ import annotations

import math
from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel, ConfigDict, Field

from tests.stack import MODEL, Stack

pytestmark = pytest.mark.engine
MESSAGES: Any = [{"role": "user", "content": "Describe a cat as JSON."}]
ASKED: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "temperature": 0, "max_tokens": 80}


class Pet(BaseModel):
    """What the model is made to write."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=10)
    legs: int = Field(ge=0, le=9)
    tame: bool


@pytest.fixture(params=["gateway", "node"])
def client(keyless_stack: Stack, request: pytest.FixtureRequest) -> AsyncOpenAI:
    url = keyless_stack.gateway_url if request.param == "gateway" else keyless_stack.nodes[0].url
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "pet", "strict": True, "schema": schema}}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_follows_a_schema(client: AsyncOpenAI, stream: bool) -> None:
    made = await client.chat.completions.create(
        **ASKED, response_format=_schema(Pet.model_json_schema()), stream=stream
    )
    if stream:
        text = "".join([event.choices[0].delta.content or "" async for event in made])
    else:
        text = made.choices[0].message.content
    assert Pet.model_validate_json(text).name


async def test_the_clients_own_parsing_works(client: AsyncOpenAI) -> None:
    made = await client.chat.completions.parse(**ASKED, response_format=Pet)
    assert isinstance(made.choices[0].message.parsed, Pet)


async def test_a_schema_and_not_the_model_decides(client: AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"odd": {"const": "zebra-7"}}, "required": ["odd"]}
    made = await client.chat.completions.create(**ASKED, response_format=_schema(schema))
    assert orjson.loads(made.choices[0].message.content) == {"odd": "zebra-7"}


async def test_any_json_object(client: AsyncOpenAI) -> None:
    made = await client.chat.completions.create(**{**ASKED, "max_tokens": 40}, response_format={"type": "json_object"})
    content = made.choices[0].message.content
    assert content.lstrip().startswith("{")
    if made.choices[0].finish_reason == "stop":
        assert isinstance(orjson.loads(content), dict)


async def test_a_grammar_of_llama_cpp(client: AsyncOpenAI) -> None:
    grammar = 'root ::= ("yes" | "no") " it is"'
    made = await client.chat.completions.create(**ASKED, extra_body={"grammar": grammar})
    assert made.choices[0].message.content in ("yes it is", "no it is")


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_of_a_chat(client: AsyncOpenAI, stream: bool) -> None:
    asked = {**ASKED, "max_tokens": 5, "logprobs": True, "top_logprobs": 3}
    made = await client.chat.completions.create(**asked, stream=stream)
    if stream:
        found = [event.choices[0].logprobs async for event in made if event.choices]
        tokens = [token for each in found if each for token in each.content]
    else:
        tokens = made.choices[0].logprobs.content
        assert "".join(token.token for token in tokens) == made.choices[0].message.content
    assert len(tokens) == 5
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob), "greedy: the likeliest was taken"
        assert bytes(token.bytes).decode(errors="replace") == token.token
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1.001


async def test_log_probabilities_of_a_completion(client: AsyncOpenAI) -> None:
    made = await client.completions.create(model=MODEL, prompt="Once upon a", max_tokens=4, logprobs=2, temperature=0)
    found = made.choices[0].logprobs.model_dump()
    assert len(found["content"]) == 4
    assert all(len(token["top_logprobs"]) == 2 for token in found["content"])


@pytest.mark.parametrize("stream", [False, True])
async def test_several_choices(client: AsyncOpenAI, stream: bool) -> None:
    asked = {**ASKED, "temperature": 1.5, "seed": 3, "max_tokens": 8, "n": 3}
    made = await client.chat.completions.create(**asked, stream=stream)
    texts: dict[int, str] = {}
    if stream:
        async for event in made:
            for choice in event.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    else:
        texts = {choice.index: choice.message.content for choice in made.choices}
    assert sorted(texts) == [0, 1, 2]
    assert all(texts.values())


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"top_logprobs": "many"}, "top_logprobs"),
        ({"top_logprobs": 3}, None),  # without logprobs
        ({"n": 0}, "n"),
        ({"n": -1}, "n"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "yaml"}}, None),
        ({"response_format": _schema({"type": "nothing"})}, None),
        ({"functions": [{"name": "old"}]}, "functions"),
    ],
    ids=str,
)
async def test_what_cannot_be_done_is_400(client: AsyncOpenAI, changes: dict[str, Any], param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**ASKED, extra_body=changes)
    assert refused.value.param == param
    assert (await client.chat.completions.create(**{**ASKED, "max_tokens": 1})).choices, "the engine lives"
