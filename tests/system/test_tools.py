"""Tool calls and reasoning, which are a chat template's matter, with the official clients through both hops.

The model is small, so it is shown by example when to call; its server's grammar sees to the form.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.stack import MODEL, Stack, new_stack, node, serve_gateway
from tests.tool_weights import tool_weights

pytestmark = pytest.mark.engine


def _tool(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def _called(city: str) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": orjson.dumps({"city": city}).decode()}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": f"call_{city}", "type": "function", "function": function}],
    }


def _asked(city: str) -> dict[str, Any]:
    return {"role": "user", "content": f"What is the weather in {city}?"}


TOOLS = [_tool("get_weather", "The weather of a city"), _tool("get_time", "The time in a city")]
SHOWN = [message for city in ("London", "Rome", "Oslo") for message in (_asked(city), _called(city))]
MESSAGES = [*SHOWN, _asked("Paris")]
ASKED: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "tools": TOOLS, "temperature": 0, "max_tokens": 48}
THINKING = 'root ::= "<think>\\nIt greets me.\\n</think>\\n\\nHello!"'


@pytest.fixture(scope="module")
async def made(weights: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("tools")
    made = await new_stack(folder)
    calling = await tool_weights(weights, folder)
    async with node(made, calling, access=("open",)) as own, serve_gateway(made, ("--open",), proven=1):
        made.nodes.append(own)
        yield made


@pytest.fixture
def client(made: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=made.base_url, api_key="any", max_retries=0)


@pytest.fixture
def anthropic(made: Stack) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=made.gateway_url, api_key="any", max_retries=0)


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("choice", "called"),
    [("auto", "get_weather"), ("required", "get_weather"), (_named("get_time"), "get_time")],
    ids=["auto", "required", "named"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_is_called(client: AsyncOpenAI, choice: Any, called: str, stream: bool) -> None:
    asked = client.chat.completions.create(**ASKED, tool_choice=choice, stream=stream)
    finish, calls = await (_gathered(await asked) if stream else _whole(await asked))
    assert finish == "tool_calls"
    ((name, arguments),) = calls
    assert name == called
    assert orjson.loads(arguments) == {"city": "Paris"}


async def _whole(answer: Any) -> tuple[str, list[tuple[str, str]]]:
    choice = answer.choices[0]
    return choice.finish_reason, [(call.function.name, call.function.arguments) for call in choice.message.tool_calls]


async def _gathered(stream: Any) -> tuple[str, list[tuple[str, str]]]:
    calls: dict[int, tuple[str, str]] = {}
    finish = ""
    async for event in stream:
        for call in event.choices[0].delta.tool_calls or ():
            name, arguments = calls.get(call.index, ("", ""))
            calls[call.index] = (name + (call.function.name or ""), arguments + (call.function.arguments or ""))
        finish = event.choices[0].finish_reason or finish
    return finish, list(calls.values())


async def test_none_is_called_where_none_may_be(client: AsyncOpenAI) -> None:
    made = await client.chat.completions.create(**ASKED, tool_choice="none")
    assert made.choices[0].message.tool_calls is None
    assert made.choices[0].finish_reason != "tool_calls"


async def test_a_tools_result_is_read(client: AsyncOpenAI) -> None:
    answers = []
    for result in ("Snow falls.", "The sun shines."):
        told = {"role": "tool", "tool_call_id": "call_Paris", "content": result}
        made = await client.chat.completions.create(**{**ASKED, "messages": [*MESSAGES, _called("Paris"), told]})
        assert made.choices[0].finish_reason in ("stop", "length")
        answers.append(made.choices[0].message.content)
    assert answers[0] != answers[1]


async def test_a_tool_that_is_not_there_cannot_be_chosen(client: AsyncOpenAI) -> None:
    for changes in ({"tool_choice": _named("get_rich")}, {"tools": [], "tool_choice": "required"}):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(**{**ASKED, **changes})
        assert refused.value.param == "tool_choice"


async def test_a_model_whose_template_knows_no_tools_says_so(keyless_stack: Stack) -> None:
    for base in (keyless_stack.gateway_url, keyless_stack.nodes[0].url):
        client = AsyncOpenAI(base_url=f"{base}/v1", api_key="any", max_retries=0)
        with pytest.raises(openai.BadRequestError, match="template has no form") as refused:
            await client.chat.completions.create(**ASKED, tool_choice="required")
        assert refused.value.param == "tool_choice"


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_stands_beside_the_content(client: AsyncOpenAI, stream: bool) -> None:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 32}
    made = await client.chat.completions.create(**asked, stream=stream, extra_body={"grammar": THINKING})
    parts = [event.choices[0].delta async for event in made] if stream else [made.choices[0].message]
    thought = "".join(getattr(part, "reasoning_content", None) or "" for part in parts)
    assert thought.strip() == "It greets me."
    assert "".join(part.content or "" for part in parts).strip() == "Hello!"


async def test_reasoning_in_responses(client: AsyncOpenAI) -> None:
    more: dict[str, Any] = {"extra_body": {"grammar": THINKING}}
    response = await client.responses.create(model=MODEL, input="Hello", max_output_tokens=32, **more)
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output_text.strip() == "Hello!"
    assert response.output[0].content[0].text.strip() == "It greets me."


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "name": "get_time"}], ids=str)
@pytest.mark.parametrize("stream", [False, True])
async def test_responses_call_tools(client: AsyncOpenAI, choice: Any, stream: bool) -> None:
    tools = [{"type": "function", **tool["function"]} for tool in TOOLS]
    given = [item for message in MESSAGES for item in _as_items(message)]
    asked = {"model": MODEL, "input": given, "tools": tools, "tool_choice": choice, "max_output_tokens": 48}
    made: Any = await client.responses.create(**asked, temperature=0, stream=stream)
    if stream:
        events = [event async for event in made]
        assert any(event.type == "response.function_call_arguments.delta" for event in events)
        made = events[-1].response
    (call,) = (item for item in made.output if item.type == "function_call")
    assert call.name == ("get_time" if isinstance(choice, dict) else "get_weather")
    assert orjson.loads(call.arguments) == {"city": "Paris"}


def _as_items(message: dict[str, Any]) -> list[dict[str, Any]]:
    if "tool_calls" not in message:
        return [message]
    return [
        {"type": "function_call", "call_id": call["id"], **call["function"], "status": "completed"}
        for call in message["tool_calls"]
    ]


@pytest.mark.parametrize("choice", ["auto", "any", "tool"])
@pytest.mark.parametrize("stream", [False, True])
async def test_messages_call_tools(anthropic: AsyncAnthropic, choice: str, stream: bool) -> None:
    wanted = {"type": choice, "name": "get_time"} if choice == "tool" else {"type": choice}
    asked: dict[str, Any] = {**_as_anthropic(), "model": MODEL, "max_tokens": 48, "tool_choice": wanted}
    if stream:
        async with anthropic.messages.stream(**asked, extra_body={"temperature": 0}) as events:
            made = await events.get_final_message()
    else:
        made = await anthropic.messages.create(**asked, extra_body={"temperature": 0})
    assert made.stop_reason == "tool_use"
    (call,) = (block for block in made.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_time" if choice == "tool" else "get_weather", {"city": "Paris"})


def _as_anthropic() -> dict[str, Any]:
    messages = [message if message["role"] == "user" else _used(message) for message in MESSAGES]
    functions = [tool["function"] for tool in TOOLS]
    tools = [
        {"name": each["name"], "description": each["description"], "input_schema": each["parameters"]}
        for each in functions
    ]
    return {"messages": messages, "tools": tools}


def _used(message: dict[str, Any]) -> dict[str, Any]:
    blocks = [
        {
            "type": "tool_use",
            "id": call["id"],
            "name": call["function"]["name"],
            "input": orjson.loads(call["function"]["arguments"]),
        }
        for call in message["tool_calls"]
    ]
    return {"role": "assistant", "content": blocks}


async def test_several_at_once_call_their_own(client: AsyncOpenAI) -> None:
    cities = ("Madrid", "Athens")
    asked = [
        client.chat.completions.create(**{**ASKED, "messages": [*SHOWN, _asked(city)]}, tool_choice="required")
        for city in cities
    ]
    for city, made in zip(cities, await asyncio.gather(*asked), strict=True):
        ((_, arguments),) = (await _whole(made))[1]
        assert orjson.loads(arguments) == {"city": city}
