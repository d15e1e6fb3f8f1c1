"""A busy node, as its callers see it: turns are fair, refusals say when, and what they say is true."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from registry.keys import NodeKey
from tests.node.agent import Agent, agent, chat, figures
from tests.programs import until

MODEL = "m"
GATEWAY = NodeKey.new()


def model(gguf: Path, parallel: int = 1) -> dict[str, dict[str, Any]]:
    return {MODEL: {"uri": str(gguf), "parallel": parallel}}


def keys(folder: Path, *names: str) -> list[str]:
    (folder / "keys").write_text("\n".join(names) + "\n")
    return [f"keys:{folder}/keys"]


class Caller:
    """Somebody with a key, or at an address, or a gateway. `served` is shared, and says whose answers came, in turn."""

    def __init__(
        self, node: Agent, name: str, served: list[str], connector: aiohttp.BaseConnector | None = None
    ) -> None:
        self.node = node
        self.name = name
        self.served = served
        self.refusals: list[aiohttp.ClientResponse] = []
        self.session = aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {name}"})

    async def ask(self, content: str, **more: Any) -> aiohttp.ClientResponse:
        body = {"model": MODEL, "messages": [{"role": "user", "content": content}], **more}
        async with self.session.post(f"{self.node.url}/v1/chat/completions", json=body) as response:
            await response.read()
        if response.status == 200:
            self.served.append(self.name)
        else:
            self.refusals.append(response)
        return response


async def gauge(session: aiohttp.ClientSession, node: Agent, name: str) -> float:
    return (await figures(session, node.url))[f'{name}{{model="{MODEL}"}}']


async def reaches(session: aiohttp.ClientSession, node: Agent, in_flight: int, waiting: int) -> None:
    while (await gauge(session, node, "in_flight"), await gauge(session, node, "waiting")) != (in_flight, waiting):
        assert node.program.process.returncode is None


async def _one_greedy(greedy: Caller, polite: Caller, session: aiohttp.ClientSession) -> None:
    holder = asyncio.create_task(greedy.ask("hold"))
    await reaches(session, greedy.node, 1, 0)
    crowd = [asyncio.create_task(greedy.ask("for 0.01")) for _ in range(11)]
    await until(lambda: len(greedy.refusals) == 3)
    await reaches(session, greedy.node, 1, 8)
    few = [asyncio.create_task(polite.ask("for 0.01")) for _ in range(3)]
    await until(lambda: len(greedy.refusals) == 6)  # each of them takes a place of who has the most
    holder.cancel()
    await asyncio.gather(*crowd, *few)
    assert not polite.refusals
    assert greedy.served[0] == "polite"
    assert greedy.served[5:] == ["greedy"] * 3  # before that they take turns, if not better
    assert {each.status for each in greedy.refusals} == {429}
    assert all(int(each.headers["Retry-After"]) >= 1 for each in greedy.refusals)


async def test_a_greedy_key_makes_nobody_else_wait_for_more_than_one(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    options: dict[str, Any] = {"access": keys(tmp_path, "greedy", "polite"), "queue": 8, "queue_s": 60}
    async with agent(tmp_path, model(small_gguf), llama_server=str(fake_llama), **options) as node:
        served: list[str] = []
        greedy, polite = Caller(node, "greedy", served), Caller(node, "polite", served)
        async with greedy.session, polite.session:
            await _one_greedy(greedy, polite, session)
        found = await figures(session, node.url)
        outcomes = {
            name: found[f'admissions_total{{model="m",outcome="{name}"}}'] for name in ("served", "refused", "evicted")
        }
        assert outcomes == {"served": 9, "refused": 3, "evicted": 3}


async def test_an_address_of_an_open_node_is_one_caller(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    async with agent(
        tmp_path, model(small_gguf), llama_server=str(fake_llama), access=["open"], queue=8, queue_s=60
    ) as node:
        served: list[str] = []
        greedy = Caller(node, "greedy", served)
        polite = Caller(node, "polite", served, aiohttp.TCPConnector(local_addr=("127.0.0.2", 0)))
        async with greedy.session, polite.session:
            await _one_greedy(greedy, polite, session)


@pytest.mark.parametrize("seconds", ["0.05", "0.5"])
async def test_whoever_waits_as_long_as_it_is_told_is_served(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, seconds: str
) -> None:
    names = [f"key{number}" for number in range(10)]
    options: dict[str, Any] = {"access": keys(tmp_path, *names), "queue": 4, "queue_s": 60}
    async with agent(tmp_path, model(small_gguf, 2), llama_server=str(fake_llama), **options) as node:
        served: list[str] = []
        callers = [Caller(node, name, served) for name in names]

        async def come_back(caller: Caller) -> int:
            for tries in range(1, 20):
                answer = await caller.ask(f"for {seconds}")
                if answer.status == 200:
                    return tries
                await asyncio.sleep(int(answer.headers["Retry-After"]))  # as it was told
            raise AssertionError("never served")

        try:
            for _ in range(2):
                assert max(await asyncio.gather(*map(come_back, callers))) <= 2
        finally:
            await asyncio.gather(*(caller.session.close() for caller in callers))


async def test_several_choices_take_several_slots_and_large_ones_are_not_passed_for_ever(
    tmp_path: Path, fake_llama: Path, small_gguf: Path
) -> None:
    chance = random.Random(8)
    async with agent(tmp_path, model(small_gguf, 3), llama_server=str(fake_llama), queue=100, queue_s=60) as node:
        served: list[str] = []
        caller = Caller(node, "anybody", served)

        async def ask(number: int) -> None:
            choices = 3 if number == 5 else chance.randint(1, 3)
            answer = await caller.ask(f"for {chance.random() / 10}", n=choices)
            assert answer.status == 200

        async with caller.session:
            await asyncio.gather(*(ask(number) for number in range(40)))
        assert len(served) == 40


def token(node: Agent) -> dict[str, str]:
    now = int(time.time())
    claims = {"iss": GATEWAY.public, "aud": node.key, "iat": now, "exp": now + 60}
    return {"X-Waypost-Token": jwt.encode(claims, GATEWAY.private, algorithm="EdDSA")}


async def test_a_gateway_is_told_how_busy_the_model_is(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, session: aiohttp.ClientSession
) -> None:
    options: dict[str, Any] = {"access": ["open"], "queue": 1, "queue_s": 60}
    async with agent(tmp_path, model(small_gguf, 2), llama_server=str(fake_llama), **options) as node:
        caller = Caller(node, "gateway", [])
        async with caller.session:
            assert "Waypost-Load" not in (await caller.ask("Hi.")).headers
            for forged in ("nonsense", "a.b.c"):
                caller.session.headers["X-Waypost-Token"] = forged
                assert "Waypost-Load" not in (await caller.ask("Hi.")).headers
            caller.session.headers.update(token(node))
            assert (await caller.ask("Hi.")).headers["Waypost-Load"] == "1/2+0"
            assert (await caller.ask("Hi.", n=2)).headers["Waypost-Load"] == "2/2+0"
            assert "Waypost-Load" not in (await caller.ask("Hi.", model="none")).headers
            held = [asyncio.create_task(caller.ask("hold")) for _ in range(3)]
            await reaches(session, node, 2, 1)
            refused = await caller.ask("Hi.")
            assert (refused.status, refused.headers["Waypost-Load"]) == (429, "2/2+1")
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)


async def test_a_real_engine_makes_several_choices_at_once_and_no_slot_is_lost(
    tmp_path: Path, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    async with agent(tmp_path, {MODEL: small}, queue=8, queue_s=60) as node:
        both = await asyncio.gather(
            *(chat(session, node.url, MODEL, "Say a word.", n=n, temperature=1.0) for n in (2, 1, 2, 1, 1))
        )
        assert [status for status, _ in both] == [200] * 5
        assert [len(answer["choices"]) for _, answer in both] == [2, 1, 2, 1, 1]
        status, refused = await chat(session, node.url, MODEL, "Say a word.", n=3)
        assert (status, refused["error"]["type"]) == (400, "invalid_request_error")
