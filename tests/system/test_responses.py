"""OpenAI's Responses API through both hops, with the official client, to a real llama-server; and where it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from openai import AsyncOpenAI

from tests.gateway.adverts import offer
from tests.gateway.scene import new_scene, rogue
from tests.stack import MODEL, Stack, serve_gateway

pytestmark = pytest.mark.engine
ASKED: dict[str, Any] = {"model": MODEL, "input": "What is a tree?", "max_output_tokens": 12, "temperature": 0}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}


@pytest.fixture
def client(keyless_stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=keyless_stack.base_url, api_key="any", max_retries=0)


@pytest.fixture(params=["gateway", "node"])
def base(keyless_stack: Stack, request: pytest.FixtureRequest) -> str:
    return keyless_stack.gateway_url if request.param == "gateway" else keyless_stack.nodes[0].url


async def test_a_response_that_was_cut_says_so(client: AsyncOpenAI) -> None:
    made = await client.responses.create(**ASKED)
    assert made.status == "incomplete"
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"
    assert made.output_text
    assert made.usage is not None
    assert 0 < made.usage.output_tokens <= 12
    assert made.usage.input_tokens > 5


async def test_streamed_and_whole_responses_are_the_same(client: AsyncOpenAI) -> None:
    whole = await client.responses.create(**ASKED)
    events = [event async for event in await client.responses.create(**ASKED, stream=True)]
    assert [events[0].type, events[-1].type] == ["response.created", "response.incomplete"]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 3
    assert "".join(deltas) == whole.output_text == events[-1].response.output_text


async def test_instructions_and_earlier_turns_are_read(client: AsyncOpenAI) -> None:
    plain = await client.responses.create(**ASKED)
    told = await client.responses.create(**ASKED, instructions="You are a pirate. Answer as pirates do.")
    assert plain.usage is not None
    assert told.usage is not None
    assert told.usage.input_tokens != plain.usage.input_tokens
    turns: Any = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "Hello, Ada."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Who am I?"}]},
    ]
    made = await client.responses.create(**{**ASKED, "input": turns})
    assert made.output_text
    assert made.usage is not None
    assert made.usage.input_tokens > plain.usage.input_tokens


async def test_a_schema_is_kept(client: AsyncOpenAI) -> None:
    text: Any = {"format": {"type": "json_schema", "name": "tree", "schema": SCHEMA, "strict": True}}
    made = await client.responses.create(**{**ASKED, "max_output_tokens": 60}, text=text)
    assert (made.status, made.incomplete_details) == ("completed", None)
    found = orjson.loads(made.output_text)
    assert set(found) == {"name", "old"}
    assert isinstance(found["old"], bool)


@pytest.mark.parametrize("path", ["/v1", "/v1-openai"])
@pytest.mark.parametrize(("limit", "end"), [(12, "incomplete"), (60, "completed")])
async def test_the_stream_ends_with_its_last_event(
    base: str, path: str, limit: int, end: str, session: aiohttp.ClientSession
) -> None:
    text = {"format": {"type": "json_schema", "name": "tree", "schema": SCHEMA, "strict": True}} if limit > 12 else {}
    asked = {**ASKED, "max_output_tokens": limit, "stream": True, "text": text}
    async with session.post(f"{base}{path}/responses", json=asked) as response:
        assert response.content_type == "text/event-stream"
        last = [event for event in (await response.text()).split("\n\n") if event][-1]
    assert last.startswith(f"event: response.{end}\ndata: {{")


BAD: dict[str, tuple[dict[str, Any], str | None]] = {
    "no input": ({"input": ...}, "input"),
    "an empty input": ({"input": ""}, "input"),
    "an empty list": ({"input": []}, "input"),
    "an input that is a number": ({"input": 7}, "input"),
    "an item that is text": ({"input": ["hi"]}, "input"),
    "an item of no known kind": ({"input": [{"type": "riddle"}]}, None),
    "an earlier response": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "a conversation": ({"conversation": "conv_1"}, "conversation"),
    "work in the background": ({"background": True}, "background"),
    "a tool of OpenAI's": ({"tools": [{"type": "web_search"}]}, "tools[0]"),
    "tools that are text": ({"tools": "all"}, "tools"),
    "a choice of no tool": ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
    "a maximum that is text": ({"max_output_tokens": "many"}, "max_output_tokens"),
    "a file": ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, None),
    "a schema that is none": ({"text": {"format": {"type": "json_schema", "schema": {"type": "nothing"}}}}, None),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input(base: str, session: aiohttp.ClientSession, name: str) -> None:
    changes, param = BAD[name]
    body = {key: value for key, value in {**ASKED, **changes}.items() if value is not ...}
    async with session.post(f"{base}/v1/responses", json=body) as response:
        error = (await response.json())["error"]
        assert (response.status, error["param"]) == (400, param), error
        assert set(error) == {"message", "type", "param", "code"}
    async with session.post(f"{base}/v1/responses", json={**ASKED, "max_output_tokens": 1}) as response:
        assert response.status == 200, "the engine is alive afterwards"


@pytest.fixture(scope="module")
async def breaking(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A gateway before nodes that break a stream off."""
    folder = tmp_path_factory.mktemp("breaking")
    made, operator = new_scene(folder)
    async with AsyncExitStack() as exits:
        for mode in ("cut", "undone"):
            node = await exits.enter_async_context(rogue(folder, mode))
            await operator.offer(node, offers=[offer(mode, endpoints=["responses"])])
        await exits.enter_async_context(serve_gateway(made, ("--open",), proven=2))
        yield made


@pytest.mark.parametrize("mode", ["cut", "undone"])
async def test_a_stream_that_breaks_ends_in_an_error(
    breaking: Stack, session: aiohttp.ClientSession, mode: str
) -> None:
    client = AsyncOpenAI(base_url=breaking.base_url, api_key="any", max_retries=0)
    with pytest.raises(openai.APIError, match="upstream") as broken:
        async for _ in await client.responses.create(model=mode, input="Hello", stream=True):
            pass
    assert not isinstance(broken.value, openai.APIConnectionError), "the event says it"
    read = bytearray()
    body = {"model": mode, "input": "Hello", "stream": True}
    async with session.post(f"{breaking.base_url}/responses", json=body) as response:
        with pytest.raises(aiohttp.ClientPayloadError):  # the final chunk is missing
            async for piece in response.content.iter_any():
                read += piece
    name, data = bytes(read).strip().split(b"\n\n")[-1].split(b"\n")
    assert name == b"event: error"
    said = orjson.loads(data.removeprefix(b"data: "))
    assert (said["type"], said["code"]) == ("error", "upstream_broken")
    assert said["message"]
