"""The fake Aleph node breaks the rules where it is told to, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.aleph import AlephNode, aleph_node
from tests.fakes.signed import ALICE, numbered

SHORT = aiohttp.ClientTimeout(total=1)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[AlephNode]:
    async with aleph_node(tmp_path) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def fill(node: AlephNode, count: int, first: int = 1) -> list[dict[str, Any]]:
    sent = [await numbered(number) for number in range(first, first + count)]
    for each in sent:
        await node.control(publish=each)
    return sent


async def page(session: aiohttp.ClientSession, node: AlephNode, query: str = "") -> dict[str, Any]:
    async with session.get(f"{node.url}/api/v0/messages.json?sortOrder=1&{query}") as response:
        assert response.status == 200
        shown: dict[str, Any] = await response.json()
        return shown


async def numbers(session: aiohttp.ClientSession, node: AlephNode, query: str = "") -> list[Any]:
    return [each["content"]["content"] for each in (await page(session, node, query))["messages"]]


async def test_messages_are_forged_in_each_way(node: AlephNode, session: aiohttp.ClientSession) -> None:
    honest, other = await fill(node, 2)

    async def forged(**settings: Any) -> dict[str, Any]:
        await node.control(reset=True, only=[honest["item_hash"]], **settings)
        shown = (await page(session, node))["messages"]
        assert all(shown[1][key] == other[key] for key in other), "only what was named"
        return {key: value for key, value in shown[0].items() if key in honest and value != honest[key]} | {
            "content": shown[0]["content"]["content"]
        }

    assert await forged(lie_content=True) == {"content": {"forged": True}}
    assert set(await forged(alter_item_content=True)) == {"item_content", "content"}
    assert set(await forged(break_signature=True)) == {"signature", "content"}
    assert await forged(swap_sender="0xabc", swap_channel="X") == {"sender": "0xabc", "channel": "X", "content": 1}


async def test_pages_come_reversed_repeated_short_and_without_end(
    node: AlephNode, session: aiohttp.ClientSession
) -> None:
    await fill(node, 4)

    async def shown(number: int, **settings: Any) -> list[Any]:
        await node.control(reset=True, **settings)
        return await numbers(session, node, f"pagination=2&page={number}")

    assert await shown(1, reverse_pages=True) == [2, 1]
    assert await shown(1, repeat_messages=True) == [1, 1, 2, 2]
    assert [await shown(n, repeat_pages=True) for n in (1, 2, 3, 4, 5)] == [[1, 2], [1, 2], [3, 4], [3, 4], []]
    assert await shown(1, truncate=1, total=9) == [1]
    assert (await page(session, node))["pagination_total"] == 9
    assert [await shown(n, endless=True) for n in (2, 3, 101)] == [[3, 4], [1, 2], [1, 2]]
    assert (await page(session, node, "cursor="))["next_cursor"]


async def test_messages_are_withheld(node: AlephNode, session: aiohttp.ClientSession) -> None:
    sent = await fill(node, 3)
    for settings, left in (
        ({"withhold_hashes": [sent[1]["item_hash"]]}, [1, 3]),
        ({"withhold_senders": [ALICE.get_address()]}, []),
        ({"withhold_after": 2.0}, [1, 2]),
        ({"withhold_all": True}, []),
    ):
        await node.control(reset=True, **settings)
        assert await numbers(session, node) == left
        async with session.get(f"{node.url}/api/v0/messages/{sent[2]['item_hash']}") as response:
            assert response.status == (200 if 3 in left else 404)


@pytest.mark.parametrize(("answer", "status"), [("500", 500), ("429", 429), ("503", 503), ("redirect", 307)])
async def test_bad_answers_come_where_and_as_often_as_wanted(
    node: AlephNode, session: aiohttp.ClientSession, answer: str, status: int
) -> None:
    await node.control(answer=answer, answer_on="pages", answer_times=1)
    urls = [f"{node.url}/api/v0/messages/{'ab' * 32}", *[f"{node.url}/api/v0/messages.json"] * 2]
    seen = []
    for url in urls:
        async with session.get(url, allow_redirects=False) as response:
            seen.append(response.status)
    assert seen == [404, status, 200]


@pytest.mark.parametrize("answer", ["stall", "drip", "away"])
async def test_it_stalls_drips_and_goes_away(node: AlephNode, session: aiohttp.ClientSession, answer: str) -> None:
    await node.control(answer=answer)
    with pytest.raises((TimeoutError, aiohttp.ClientError)):
        async with session.get(f"{node.url}/api/v0/messages.json", timeout=SHORT) as response:
            await response.read()
    await node.control(reset=True)
    assert await numbers(session, node) == []


@pytest.mark.parametrize("answer", ["html", "invalid_json", "wrong_shape", "huge"])
async def test_bodies_are_not_what_they_should_be(node: AlephNode, session: aiohttp.ClientSession, answer: str) -> None:
    await node.control(answer=answer)
    async with session.get(f"{node.url}/api/v0/messages.json") as response:
        assert response.status == 200
        start = await response.content.read(4_000_000)
    assert {"html": b"<html", "invalid_json": b'{"messages": [', "wrong_shape": b"{", "huge": b'{"messages": ['}[
        answer
    ] == start[: {"html": 5, "wrong_shape": 1}.get(answer, 14)]


async def test_sockets_skip_repeat_talk_nonsense_and_drop(node: AlephNode, session: aiohttp.ClientSession) -> None:
    await node.control(ws_skip=1, ws_duplicate=True, ws_garbage=True, ws_drop_after=4)
    async with session.ws_connect(f"{node.url}/api/ws0/messages?history=0") as ws:
        await node.reached(lambda counts: counts["sockets_open"] == 1)
        await fill(node, 3)
        texts = [frame.data async for frame in ws]
    read = [json.loads(text) for text in texts if text.startswith('{"item_hash": "')]
    assert [each["content"]["content"] for each in read] == [2, 2, 3, 3]
    assert len(texts) == 4 + 2 * 4
    counts = await node.reached(lambda counts: counts["sockets_open"] == 0)
    assert (counts["sockets_opened"], counts["socket_messages"]) == (1, 4)


async def test_sockets_are_cut_and_fall_silent(node: AlephNode, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{node.url}/api/ws0/messages?history=0") as ws:
        await node.reached(lambda counts: counts["sockets_open"] == 1)
        await node.control(ws_silent=True)
        await fill(node, 1)
        await node.control(ws_silent=False)
        await fill(node, 1, first=2)
        assert json.loads(await ws.receive_str())["content"]["content"] == 2
        await node.control(drop_sockets=True)
        assert (await ws.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    await node.control(answer="500", answer_on="socket")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect(f"{node.url}/api/ws0/messages")


async def test_the_counters_say_what_one_advert_cost(node: AlephNode, session: aiohttp.ClientSession) -> None:
    await page(session, node)
    async with session.ws_connect(f"{node.url}/api/ws0/messages?history=0") as ws:
        await node.reached(lambda counts: counts["sockets_open"] == 1)
        await node.control(reset_counts=True)
        await fill(node, 1)
        await ws.receive_str()
        counts = await node.counts()
    assert (counts["socket_messages"], counts["requests"], counts["served"]) == (1, {}, 0)


async def test_an_unknown_setting_is_an_error(node: AlephNode, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{node.url}/_control", json={"withold_all": True}) as response:
        assert response.status == 400
    assert not (await node.counts())["settings"]["withhold_all"]
