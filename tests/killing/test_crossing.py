"""The crossing hands on what it is given, notes it, and resets what is cut; and what passed is read as HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tests.killing.crossing import Crossing
from tests.killing.wire import exchanges
from tests.programs import free_port, until


async def _stream(request: web.Request) -> web.StreamResponse:
    """As many events as are asked for, then silence unless that was all."""
    asked = await request.json()
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b": patience\n\n")
    for number in range(asked["events"]):
        await answer.write(b'data: {"choices": [{"delta": {"content": "%d "}}]}\n\n' % number)
    if asked.get("ends", True):
        await answer.write(b"data: [DONE]\n\n")
        return answer
    assert request.transport is not None
    transport = request.transport
    await until(transport.is_closing)
    return answer


@contextlib.asynccontextmanager
async def _crossed() -> AsyncIterator[tuple[Crossing, str]]:
    app = web.Application()
    app.router.add_post("/", _stream)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    crossing = await Crossing.open(runner.addresses[0][1])
    try:
        yield crossing, f"http://127.0.0.1:{crossing.port}/"
    finally:
        await crossing.close()
        await runner.cleanup()


async def test_what_passes_is_handed_on_and_noted(session: aiohttp.ClientSession) -> None:
    async with _crossed() as (crossing, url):
        for events in (3, 1):
            async with session.post(url, json={"events": events}) as response:
                assert (await response.read()).endswith(b"[DONE]\n\n")
        first, second = exchanges(crossing)
    assert (first.asked, first.status, first.whole, first.text) == ({"events": 3}, 200, True, "0 1 2 ")
    assert (second.asked, second.text) == ({"events": 1}, "0 ")
    assert [event.comment for event in first.events] == ["patience", None, None, None, None]
    assert all(earlier.at <= later.at for earlier, later in zip(first.events, first.events[1:], strict=False))


async def test_what_is_cut_is_reset_and_others_go_on(session: aiohttp.ClientSession) -> None:
    async with _crossed() as (crossing, url):
        async with (
            session.post(url, json={"events": 2, "ends": False, "who": "me"}) as mine,
            session.post(url, json={"events": 1, "ends": False, "who": "you"}) as other,
        ):
            await mine.content.readuntil(b"1 ")
            crossing.cut(b'"me"')
            with pytest.raises(aiohttp.ClientError):
                await mine.content.read()
            assert await other.content.readuntil(b"0 ")
        (cut,) = [each for each in exchanges(crossing) if each.asked["who"] == "me"]
    assert (cut.whole, cut.text) == (False, "0 1 ")


async def test_a_kept_connection_is_cut_for_its_last_request_alone() -> None:
    async with (
        _crossed() as (crossing, url),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        async with session.post(url, json={"events": 1, "who": "me"}) as response:
            await response.read()
        async with session.post(url, json={"events": 1, "ends": False, "who": "you"}) as response:
            crossing.cut(b'"me"')
            assert await response.content.readuntil(b"0 ")
            crossing.cut(b'"you"')
            with pytest.raises(aiohttp.ClientError):
                await response.content.read()
        assert len(crossing.passages) == 1


async def test_nobody_behind_it_is_a_reset(session: aiohttp.ClientSession) -> None:
    crossing = await Crossing.open(free_port())
    with pytest.raises(aiohttp.ClientError):
        await session.post(f"http://127.0.0.1:{crossing.port}/", json={})
    await crossing.close()


async def test_what_is_forgotten_is_not_read_again(session: aiohttp.ClientSession) -> None:
    async with _crossed() as (crossing, url):
        for events in (3, 1):
            crossing.forget()
            async with session.post(url, json={"events": events}) as response:
                await response.read()
        assert [each.asked for each in exchanges(crossing)] == [{"events": 1}]
