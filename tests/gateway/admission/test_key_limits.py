"""Limits of API keys: in the file, at a gateway of several workers, and as an SDK meets them."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from openai import AsyncOpenAI

from gateway.config import KeyNewConfig
from gateway.keys import KeyFileError, KeyRing, run_new
from tests.gateway.adverts import offer
from tests.gateway.crew import connections, crew, kill, metrics, processes
from tests.gateway.scene import CHAT, new_scene
from tests.gateway.slotted_node import slotted_node
from tests.programs import until

KEY = "wp-a-key-of-the-tests"
ENTRY = {"name": "alice", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "models": [], "created_at": 1}
HEADERS = {"Authorization": f"Bearer {KEY}"}


def key_file(folder: Path, **more: Any) -> Path:
    path = folder / "keys.json"
    path.write_bytes(orjson.dumps([{**ENTRY, **more}]))
    return path


def test_a_file_of_an_older_version_is_read_and_its_keys_have_the_gateways_limits(tmp_path: Path) -> None:
    caller = KeyRing(key_file(tmp_path)).caller(HEADERS)
    assert (caller.name, caller.max_parallel, caller.requests_per_minute) == ("alice", None, None)


def test_limits_are_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.json"
    run_new(KeyNewConfig(name="bob", api_keys=path, max_parallel=4, requests_per_minute=0))
    caller = KeyRing(path).caller({"Authorization": f"Bearer {capsys.readouterr().out.strip()}"})
    assert (caller.max_parallel, caller.requests_per_minute) == (4, 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"max_paralel": 3}, "0.max_paralel is unknown here; known are name, sha256"),
        ({"max_parallel": -1}, "0.max_parallel: "),
        ({"max_parallel": True}, "0.max_parallel: "),
        ({"requests_per_minute": "60"}, "0.requests_per_minute: "),
        ({"requests_per_minute": 1.5}, "0.requests_per_minute: "),
    ],
)
def test_what_is_wrong_in_the_file_is_named_and_nothing_secret_repeated(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(KeyFileError) as told:
        KeyRing(key_file(tmp_path, **more))
    assert said in str(told.value)
    assert ENTRY["sha256"] not in str(told.value)


async def _answered(client: aiohttp.ClientSession, url: str) -> tuple[int, Any, Any]:
    async with client.post(url, json={**CHAT, "model": "m"}, headers=HEADERS) as response:
        return response.status, response.headers, await response.json()


async def test_limits_hold_for_all_workers_together_and_end_with_a_killed_one(tmp_path: Path) -> None:
    stack, operator = new_scene(tmp_path)
    keys = key_file(tmp_path, max_parallel=2, requests_per_minute=9)
    async with AsyncExitStack() as exits:
        node = await exits.enter_async_context(slotted_node(8))
        await operator.post(operator.sign(node.key, node.url, offers=[offer("m", parallel=8)]))
        program = await exits.enter_async_context(crew(stack, "--api-keys", str(keys), access=""))
        clients = await exits.enter_async_context(connections(stack, program))
        url = f"{stack.base_url}/chat/completions"
        held = {worker: asyncio.create_task(_answered(client, url)) for worker, client in clients.items()}
        await until(lambda: len(node.running) == 2)
        others = await exits.enter_async_context(connections(stack, program))
        for client in others.values():
            status, headers, body = await _answered(client, url)
            assert (status, body["error"]["code"]) == (429, "too_many_parallel")
            assert "Retry-After" in headers
        kill(processes(program)[1], 9)
        with pytest.raises(aiohttp.ClientError):
            await held[1]
        await program.saw("worker 1 has ended")
        next_one = asyncio.create_task(_answered(others[2], url))
        await until(lambda: len(node.served) == 3)
        node.release(8)
        answers = [await held[2], await next_one]
        assert [status for status, *_ in answers] == [200, 200]
        assert answers[1][1]["x-ratelimit-limit-requests"] == "9"
        assert answers[1][1]["x-ratelimit-remaining-requests"] == "6", "what was refused is not counted"
        async with aiohttp.ClientSession() as session:
            await until(lambda: program.output().count("worker 1: serving") == 2)
            assert (await metrics(session, stack))["waypost_gateway_limited_in_flight"] == 0


async def test_an_sdk_comes_back_by_itself_when_it_was_told_to(tmp_path: Path) -> None:
    stack, operator = new_scene(tmp_path)
    keys = key_file(tmp_path, requests_per_minute=30)
    async with AsyncExitStack() as exits:
        node = await exits.enter_async_context(slotted_node(100))
        await operator.post(operator.sign(node.key, node.url, offers=[offer("m", parallel=100)]))
        program = await exits.enter_async_context(crew(stack, "--api-keys", str(keys), access=""))
        client = AsyncOpenAI(base_url=stack.base_url, api_key=KEY, max_retries=20)
        asked = [
            asyncio.create_task(client.chat.completions.create(model="m", messages=CHAT["messages"])) for _ in range(33)
        ]
        await until(lambda: len(node.served) == 33, lambda: f"{len(node.served)} served")
        node.release(100)
        assert len(await asyncio.gather(*asked)) == 33
        assert " 429 " in program.output()
        await client.close()
