"""Anthropic's Messages API through both hops, with the official client, to a real llama-server; and where it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import anthropic
import orjson
import pytest
from anthropic import AsyncAnthropic

from tests.gateway.adverts import offer
from tests.gateway.scene import new_scene, rogue
from tests.programs import waypost
from tests.stack import MODEL, Stack, serve_gateway

pytestmark = pytest.mark.engine
HELLO: Any = [{"role": "user", "content": "What is a tree?"}]
ASKED: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 12}


@pytest.fixture
def client(keyless_stack: Stack) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=keyless_stack.gateway_url, api_key="any", max_retries=0)


@pytest.fixture(params=["gateway", "node"])
def base(keyless_stack: Stack, request: pytest.FixtureRequest) -> str:
    return keyless_stack.gateway_url if request.param == "gateway" else keyless_stack.nodes[0].url


async def test_a_message(client: AsyncAnthropic) -> None:
    made = await client.messages.create(**ASKED, extra_body={"temperature": 0})
    assert (made.type, made.role, made.stop_reason) == ("message", "assistant", "max_tokens")
    assert made.content[0].type == "text"
    assert made.content[0].text
    assert made.usage.output_tokens == 12


async def test_streamed_and_whole_messages_are_the_same(client: AsyncAnthropic) -> None:
    whole = await client.messages.create(**ASKED, extra_body={"temperature": 0})
    async with client.messages.stream(**ASKED, extra_body={"temperature": 0}) as stream:
        pieces = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert len(pieces) > 3
    assert whole.content[0].type == "text"
    assert "".join(pieces) == whole.content[0].text
    assert final.stop_reason == "max_tokens"


async def test_system_earlier_turns_and_stop_sequences_are_read(client: AsyncAnthropic) -> None:
    counted: Any = [{"role": "user", "content": [{"type": "text", "text": "Count: one, two, three, four, five."}]}]
    plain = await client.messages.create(model=MODEL, messages=counted, max_tokens=1)
    told = await client.messages.create(model=MODEL, messages=counted, max_tokens=1, system="You are a pirate.")
    assert _read(told) != _read(plain)
    turns: Any = [*counted, {"role": "assistant", "content": "Aye."}, {"role": "user", "content": "Again."}]
    assert _read(await client.messages.create(model=MODEL, messages=turns, max_tokens=1)) > _read(plain)
    made = await client.messages.create(
        model=MODEL, messages=counted, max_tokens=64, stop_sequences=["e", "a"], extra_body={"temperature": 0}
    )
    assert made.stop_sequence in ("e", "a")  # llama-server calls the reason end_turn all the same
    assert made.usage.output_tokens < 64


def _read(made: Any) -> int:
    return int(made.usage.input_tokens + (made.usage.cache_read_input_tokens or 0))


@pytest.mark.parametrize("path", ["/v1", "/v1-openai"])
async def test_the_stream_ends_with_its_last_event(base: str, path: str, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{base}{path}/messages", json={**ASKED, "stream": True}) as response:
        assert response.content_type == "text/event-stream"
        last = [event for event in (await response.text()).split("\n\n") if event][-1]
    assert last == 'event: message_stop\ndata: {"type":"message_stop"}'


def _content(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


BAD: dict[str, tuple[dict[str, Any], str | None]] = {
    "no messages": ({"messages": ...}, "messages"),
    "messages that are text": ({"messages": "hi"}, "messages"),
    "a message without role": ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    "no max_tokens": ({"max_tokens": ...}, "max_tokens"),
    "max_tokens of zero": ({"max_tokens": 0}, "max_tokens"),
    "max_tokens that is text": ({"max_tokens": "many"}, "max_tokens"),
    "a document": (_content({"type": "document", "source": {"type": "text"}}), "messages[0].content[0].type"),
    "a picture by file": (_content({"type": "image", "source": {"type": "file"}}), "messages[0].content[0].source"),
    "a block without type": (_content({"text": "hi"}), "messages[0].content"),
    "a tool of Anthropic's": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
    "tools that are text": ({"tools": "all"}, "tools"),
    "a choice of no tool": ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
    "any of no tools": ({"tool_choice": {"type": "any"}}, "tool_choice"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input(base: str, session: aiohttp.ClientSession, name: str) -> None:
    changes, param = BAD[name]
    body = {key: value for key, value in {**ASKED, **changes}.items() if value is not ...}
    async with session.post(f"{base}/v1/messages", json=body) as response:
        error = (await response.json())["error"]
        assert (response.status, error["param"]) == (400, param), error
        assert set(error) == {"message", "type", "param", "code"}
    async with session.post(f"{base}/v1/messages", json={**ASKED, "max_tokens": 1}) as response:
        assert response.status == 200, "the engine is alive afterwards"


@pytest.fixture(scope="module")
async def breaking(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, str]]:
    """A gateway with API keys before nodes that break a stream off; and a key."""
    folder = tmp_path_factory.mktemp("breaking")
    made, operator = new_scene(folder)
    key = (await waypost("gateway", "key", "new", "ours", "--api-keys", "keys.json", cwd=folder)).strip()
    async with AsyncExitStack() as exits:
        for mode in ("cut", "undone"):
            node = await exits.enter_async_context(rogue(folder, mode))
            await operator.offer(node, offers=[offer(mode, endpoints=["messages"])])
        await exits.enter_async_context(serve_gateway(made, ("--api-keys", str(folder / "keys.json")), proven=2))
        yield made, key


@pytest.mark.parametrize("mode", ["cut", "undone"])
async def test_a_stream_that_breaks_ends_in_an_error(
    breaking: tuple[Stack, str], session: aiohttp.ClientSession, mode: str
) -> None:
    made, key = breaking
    asked: dict[str, Any] = {"model": mode, "messages": HELLO, "max_tokens": 4}
    client = AsyncAnthropic(base_url=made.gateway_url, api_key=key, max_retries=0)
    with pytest.raises(anthropic.APIStatusError, match="upstream"):
        async for _ in await client.messages.create(**asked, stream=True):
            pass
    read = bytearray()
    url, headers = f"{made.base_url}/messages", {"X-Api-Key": key}
    async with session.post(url, json={**asked, "stream": True}, headers=headers) as response:
        with pytest.raises(aiohttp.ClientPayloadError):  # the final chunk is missing
            async for piece in response.content.iter_any():
                read += piece
    name, data = bytes(read).strip().split(b"\n\n")[-1].split(b"\n")
    assert name == b"event: error"
    said = orjson.loads(data.removeprefix(b"data: "))
    assert (said["type"], said["error"]["type"]) == ("error", "api_error")
    assert said["error"]["message"]


async def test_a_key_is_shown_as_anthropics_clients_do(breaking: tuple[Stack, str]) -> None:
    client = AsyncAnthropic(base_url=breaking[0].gateway_url, api_key="wp-wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        await client.messages.create(model="cut", messages=HELLO, max_tokens=4)
