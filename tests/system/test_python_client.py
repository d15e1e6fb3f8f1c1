"""The official OpenAI client for Python, through gateway and node, to a real llama-server."""

from __future__ import annotations

import asyncio

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from tests.stack import ALIAS, EMBEDDING_MODEL, MODEL, Stack

pytestmark = pytest.mark.engine
MESSAGES = [{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": "What is a tree?"}]

ENDLESS = {"ignore_eos": True}  # a small model may have little to say


@pytest.fixture
def client(stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=stack.base_url, api_key="any key does", max_retries=0)


async def test_chat(client: AsyncOpenAI) -> None:
    made = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=32)
    assert made.choices[0].message.content
    assert made.usage is not None
    assert 0 < made.usage.completion_tokens <= 32


async def test_chat_streams_token_by_token(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        max_tokens=32,
        stream=True,
        stream_options={"include_usage": True},
        extra_body=ENDLESS,
    )
    events = [event async for event in stream]
    assert sum(bool(event.choices and event.choices[0].delta.content) for event in events) > 3
    assert events[-1].usage is not None


async def _counted(session: aiohttp.ClientSession, stack: Stack) -> dict[str, int]:
    """Tokens by their kind, as the gateway has counted them."""
    async with session.get(f"{stack.gateway_url}/metrics") as response:
        lines = [
            line for line in (await response.text()).splitlines() if line.startswith("waypost_gateway_tokens_total")
        ]
    return {
        kind: sum(int(float(line.split()[-1])) for line in lines if kind in line) for kind in ("prompt", "generated")
    }


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("usage", [False, True])
async def test_the_gateway_counts_the_tokens_that_answers_say(
    client: AsyncOpenAI, session: aiohttp.ClientSession, stack: Stack, streamed: bool, usage: bool
) -> None:
    before = await _counted(session, stack)
    extra = {"stream": True, "stream_options": {"include_usage": usage}} if streamed else {}
    made = await client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=9, extra_body=ENDLESS, **extra
    )
    if streamed:
        [_ async for _ in made]
    after = await _counted(session, stack)
    assert after["generated"] - before["generated"] == 9
    assert after["prompt"] - before["prompt"] > 10


async def test_streamed_and_whole_answers_are_the_same(client: AsyncOpenAI) -> None:
    asked = {"model": MODEL, "messages": MESSAGES, "max_tokens": 24, "temperature": 0, "seed": 7}
    whole = await client.chat.completions.create(**asked)
    stream = await client.chat.completions.create(**asked, stream=True)
    text = "".join([event.choices[0].delta.content or "" async for event in stream])
    assert text == whole.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
async def test_completions(client: AsyncOpenAI, stream: bool) -> None:
    made = await client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8, stream=stream)
    text = "".join([event.choices[0].text async for event in made]) if stream else made.choices[0].text
    assert text


async def test_models_are_listed_with_what_is_behind_them(client: AsyncOpenAI, stack: Stack) -> None:
    listed = [item async for item in await client.models.list()]
    assert {item.id for item in listed} == {MODEL, EMBEDDING_MODEL}
    item = (await client.models.retrieve(MODEL)).model_dump()
    assert item["aliases"] == [ALIAS]
    assert set(item["endpoints"]) >= {"chat.completions", "completions"}
    assert item["operators"] == [stack.operator]
    assert item["nodes"] == 1
    assert len(item["weights_sha256"]) == 64
    assert item["context_length"] > 0


async def test_every_kind_of_name_leads_to_the_model(client: AsyncOpenAI, stack: Stack) -> None:
    digest = (await client.models.retrieve(MODEL)).model_dump()["weights_sha256"]
    for name in (MODEL, ALIAS, f"{MODEL}@{digest[:8]}", f"{MODEL}@{digest}", f"{MODEL}@{stack.operator}"):
        made = await client.chat.completions.create(model=name, messages=MESSAGES, max_tokens=2)
        assert made.choices[0].message.content, name


async def test_one_vm_can_be_asked(stack: Stack) -> None:
    client = AsyncOpenAI(base_url=f"{stack.gateway_url}/vm/{stack.nodes[0].key}/v1", api_key="x", max_retries=0)
    made = await client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, max_tokens=4)
    assert made.headers["Waypost-Node"] == stack.nodes[0].key
    assert made.headers["X-Request-Id"]
    assert {item.id async for item in await client.models.list()} == {MODEL, EMBEDDING_MODEL}


async def test_error_classes(client: AsyncOpenAI, stack: Stack) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="nobody-has-this", messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        await client.chat.completions.create(model=MODEL, messages=[])
    assert empty.value.param == "messages"
    elsewhere = AsyncOpenAI(base_url=f"{stack.gateway_url}/vm/{'A' * 43}/v1", api_key="x", max_retries=0)
    with pytest.raises(openai.NotFoundError) as no_vm:
        await elsewhere.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert no_vm.value.code == "vm_not_found"


async def test_a_client_that_times_out_gets_its_own_error_and_the_next_call_works(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.2).chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=2000, extra_body=ENDLESS
        )
    made = await client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=2)
    assert made.choices[0].message.content


async def test_a_client_that_aborts_a_stream_leaves_nothing_behind(client: AsyncOpenAI, stack: Stack) -> None:
    async with await client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=2000, stream=True, extra_body=ENDLESS
    ) as stream:
        await anext(aiter(stream))
    async with aiohttp.ClientSession() as session:
        for _ in range(100):
            async with session.get(f"{stack.gateway_url}/metrics") as response:
                if "waypost_gateway_in_flight 0.0" in await response.text():
                    return
            await asyncio.sleep(0)
    raise AssertionError("a request is still in flight")


async def test_chinese_and_emoji_arrive_whole_when_split_across_chunks(client: AsyncOpenAI) -> None:
    text = "你好，世界 🌍🚀"
    grammar = f'root ::= "{text}"'
    asked = {"model": MODEL, "messages": MESSAGES, "max_tokens": 64, "extra_body": {"grammar": grammar}}
    whole = await client.chat.completions.create(**asked)
    assert whole.choices[0].message.content == text
    stream = await client.chat.completions.create(**asked, stream=True)
    pieces = [event.choices[0].delta.content or "" async for event in stream]
    assert "".join(pieces) == text
    assert len([piece for piece in pieces if piece]) > 1


async def test_a_grammar_holds(client: AsyncOpenAI) -> None:
    grammar = {"grammar": 'root ::= "yes" | "no"'}
    for seed in range(4):
        made = await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=8, seed=seed, temperature=2, extra_body=grammar
        )
        assert made.choices[0].message.content in ("yes", "no")


async def test_sampling_options_reach_the_engine(client: AsyncOpenAI, stack: Stack) -> None:
    """llama-server records a slot's task when it launches the next one there, so the slot is named, and asked twice."""
    log = stack.nodes[0].program
    before = len(log.output())
    options = {"id_slot": 0, "mirostat": 2, "mirostat_tau": 3.5, "min_p": 0.07}
    for _ in range(2):
        await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=2, seed=424242, extra_body=options
        )
    record = next(
        line for line in (await log.saw('"seed":424242', since=before)).splitlines() if '"seed":424242' in line
    )
    for value in ('"mirostat":2', '"mirostat_tau":3.5', '"min_p":0.07'):
        assert value in record
