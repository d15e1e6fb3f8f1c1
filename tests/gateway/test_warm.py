"""A gateway before nodes that have loaded this model and not that one: the warm one is asked, and a cold one is no
failure. Real sockets; the nodes keep the protocol's rules and say what they have loaded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.adverts import offer
from tests.gateway.loading_node import Loading, loading_node
from tests.gateway.memory_board import MemoryHost
from tests.gateway.scene import CHAT, Operator
from tests.gateway.whole_gateway import Whole, whole_gateway
from tests.programs import until


@dataclass
class Scene:
    """A gateway that knows these nodes; the first is of an operator that it names where that is asked for."""

    whole: Whole
    host: MemoryHost
    operators: Sequence[Operator]
    nodes: Sequence[Loading]

    async def advertise(self, number: int, **warm: bool) -> None:
        """Post what that node offers, and whether it has it warm; returns once the gateway has taken it."""
        node, operator = self.nodes[number], self.operators[number]
        offers = [offer(model, weights="ab", warm=is_warm, parallel=2) for model, is_warm in warm.items()]
        posted = operator.sign(node.key, node.url, offers=offers)
        await self.host.publish(posted.to_json())
        key = (operator.wallet.address, node.key.public)

        def taken() -> bool:
            known = self.whole.follower.directory.get(key)
            return known is not None and known.envelope.text == posted.text

        await until(taken)
        await until(lambda: self.whole.prover.proven_count == self._advertised)

    @property
    def _advertised(self) -> int:
        return len(self.whole.follower.directory)

    async def ask(self, model: str) -> tuple[int, Any, Any]:
        url = f"{self.whole.url}/v1/chat/completions"
        async with self.whole.session.post(url, json={**CHAT, "model": model}) as response:
            return response.status, response.headers, await response.json()

    async def asked(self, model: str, times: int) -> list[str]:
        """The nodes that answered so many requests, one after another."""
        answers = [await self.ask(model) for _ in range(times)]
        assert [status for status, _, _ in answers] == [200] * times, answers
        return [headers["Waypost-Node"] for _, headers, _ in answers]


@contextlib.asynccontextmanager
async def scene(folder: Path, *nodes: Loading, named: bool = False) -> AsyncIterator[Scene]:
    host, operators = MemoryHost("memory://", []), [Operator("") for _ in nodes]
    trust = (operators[0].wallet.address, "any") if named else ("any",)
    async with whole_gateway(folder, [host], trust) as whole:
        yield Scene(whole, host, operators, nodes)


@pytest.fixture
async def two() -> AsyncIterator[tuple[Loading, Loading]]:
    async with loading_node("m", "other") as one, loading_node("m", "other") as other:
        yield one, other


async def test_requests_go_where_the_advert_says_warm_and_follow_the_next_advert(
    tmp_path: Path, two: tuple[Loading, Loading]
) -> None:
    one, other = two
    async with scene(tmp_path, one, other) as made:
        await made.advertise(0, m=True)
        await made.advertise(1, m=False)
        assert set(await made.asked("m", 6)) == {one.key.public}
        await made.advertise(0, m=False)
        await made.advertise(1, m=True)
        assert set(await made.asked("m", 6)) == {other.key.public}
        async with made.whole.session.get(f"{made.whole.url}/v1/models/m") as response:
            item = await response.json()
        assert (item["nodes"], item["warm"]) == (2, 1)


async def test_a_warm_node_that_is_full_leaves_the_rest_to_a_cold_one(
    tmp_path: Path, two: tuple[Loading, Loading]
) -> None:
    one, other = two
    async with scene(tmp_path, one, other) as made:
        await made.advertise(0, m=True)
        await made.advertise(1, m=False)
        one.go_on.clear()
        other.go_on.clear()
        tasks = [asyncio.create_task(made.ask("m")) for _ in range(4)]  # two slots each
        await until(lambda: (len(one.asked), len(other.asked)) == (2, 2))
        one.go_on.set()
        other.go_on.set()
        assert [status for status, _, _ in await asyncio.gather(*tasks)] == [200] * 4


async def test_who_has_loaded_a_model_is_asked_again_though_its_advert_is_older(
    tmp_path: Path, two: tuple[Loading, Loading]
) -> None:
    one, other = two
    async with scene(tmp_path, one, other) as made:
        await made.advertise(0, m=False)
        await made.advertise(1, m=False)
        assert len(set(await made.asked("m", 6))) == 1, "the other need not load it"


@pytest.mark.parametrize("code", ["model_cold", "model_not_ready", "engine_not_ready"])
async def test_a_cold_model_goes_to_the_next_node_and_costs_the_other_models_nothing(tmp_path: Path, code: str) -> None:
    async with (
        loading_node("other", code=code) as one,
        loading_node("m", "other") as fallback,
        scene(tmp_path, one, fallback, named=True) as made,
    ):
        await made.advertise(0, m=True, other=True)  # what it says of m is not true any more
        await made.advertise(1, m=False, other=True)
        for _ in range(3):
            assert await made.asked("m", 1) == [fallback.key.public]
            assert await made.asked("other", 1) == [one.key.public], "the one whose operator is named"
        assert one.asked.count("m") == 1, "it said when to come back"
        one.loaded.add("m")
        await made.advertise(0, m=True, other=True)
        assert await made.asked("m", 1) == [one.key.public]


async def test_where_all_are_cold_the_client_is_told_the_soonest(tmp_path: Path) -> None:
    async with (
        loading_node(retry_after_s=40) as slow,
        loading_node(retry_after_s=3) as soon,
        loading_node(retry_after_s=20) as middling,
        scene(tmp_path, slow, soon, middling) as made,
    ):
        for number in range(3):
            await made.advertise(number, m=False)
        for _ in range(3):
            status, headers, body = await made.ask("m")
            assert (status, headers["Retry-After"]) == (503, "3")
            assert headers["Waypost-Node"] == soon.key.public
            assert body["error"]["code"] == "model_cold"
        assert [len(node.asked) for node in made.nodes] == [3, 3, 3], "each was asked for each request"
        soon.loaded.add("m")
        assert await made.asked("m", 1) == [soon.key.public]


@pytest.mark.parametrize(
    ("beside", "retry_after_s", "told"),
    [("broken", 0, (503, "model_cold", "9")), ("busy", 2, (429, "busy", "2")), ("busy", 30, (503, "model_cold", "9"))],
)
async def test_of_mixed_failures_the_client_is_told_when_to_come_back(
    tmp_path: Path, beside: str, retry_after_s: int, told: tuple[int, str, str]
) -> None:
    async with (
        loading_node(retry_after_s=9) as cold,
        loading_node(code=beside, retry_after_s=retry_after_s) as bad,
        scene(tmp_path, cold, bad) as made,
    ):
        await made.advertise(0, m=True)
        await made.advertise(1, m=True)
        for _ in range(2):  # whichever of them is asked first
            status, headers, body = await made.ask("m")
            assert (status, body["error"]["code"], headers["Retry-After"]) == told
