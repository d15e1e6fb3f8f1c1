"""Which nodes are asked how they are, and what follows. Pure where it decides, over real sockets where it asks."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from gateway.balance import Balance
from gateway.groups import Candidate
from gateway.probing import Found, Probing, probe
from relay.errors import TooManyRequests
from tests.gateway.adverts import believed, node_key, offer
from tests.gateway.moody_node import Moody, moody_node
from tests.gateway.prover import client
from tests.programs import free_port, until


def candidate(name: str) -> Candidate:
    return Candidate(believed("op", name, offer("m")), offer("m"))


def steady() -> Balance:
    return Balance(spread=lambda: 0.0)


def due(balance: Balance, now: float, most: int = 8) -> list[str]:
    return [one.advert.node for one in balance.to_probe(now, most)]


def test_a_node_is_asked_only_when_it_is_in_use_and_quiet() -> None:
    balance = steady()
    assert due(balance, 0.0) == []
    balance.answered(candidate("a"), now=100.0)
    assert due(balance, 159.0) == [], "heard of just now"
    assert due(balance, 161.0) == [node_key("a")]
    assert due(balance, 701.0) == [], "nobody has used it for ten minutes"


def test_a_node_that_was_found_well_is_left_in_peace_for_a_minute() -> None:
    balance = steady()
    balance.answered(candidate("a"), now=0.0)
    balance.probed(node_key("a"), 61.0, 61.0, well=True)
    assert due(balance, 120.0) == []
    assert due(balance, 122.0) == [node_key("a")]


def test_a_node_that_could_not_be_reached_is_asked_until_it_can() -> None:
    balance, one = steady(), candidate("a")
    balance.unreachable(one, now=0.0)
    assert due(balance, 0.5) == [node_key("a")]
    balance.probed(node_key("a"), 0.5, 0.6, well=False)
    assert balance.order([one], 0.9) == []
    balance.probed(node_key("a"), 0.7, 0.8, well=True)
    assert balance.order([one], 0.9) == [one]
    assert due(balance, 1.0) == []


def test_ill_for_other_reasons_only_requests_find_out() -> None:
    balance, one = steady(), candidate("a")
    for _ in range(3):
        balance.failed(one, now=0.0)
    assert due(balance, 5.0) == []
    balance.probed(node_key("a"), 5.0, 5.1, well=True)
    assert balance.open_circuits == 1


def test_what_a_request_found_out_meanwhile_counts_for_more() -> None:
    balance, one = steady(), candidate("a")
    balance.answered(one, now=10.0)
    balance.probed(node_key("a"), 9.0, 11.0, well=False)
    assert balance.order([one], 11.0) == [one]
    balance.unreachable(one, now=20.0)
    balance.probed(node_key("a"), 19.0, 20.5, well=True)
    assert balance.order([one], 20.6) == []


def test_who_is_gone_is_not_asked_and_leaves_nothing() -> None:
    balance, one = steady(), candidate("a")
    balance.unreachable(one, now=0.0)
    balance.forget(node_key("a"))
    assert due(balance, 5.0) == []
    balance.probed(node_key("a"), 4.0, 5.0, well=False)
    assert balance.open_circuits == 0


def test_few_at_once_and_those_first_that_waited_the_longest() -> None:
    balance = steady()
    for name in "abcdefghijkl":
        balance.unreachable(candidate(name), now=0.0)
    first, second = due(balance, 1.0), due(balance, 2.0)
    assert (len(first), len(second)) == (8, 8)
    assert len({*first, *second}) == 12


@pytest.mark.parametrize(
    ("status", "found"), [(200, Found.WELL), (202, Found.WELL), (503, Found.UNCLEAR), (302, Found.UNCLEAR)]
)
async def test_a_node_says_how_it_is(status: int, found: Found) -> None:
    async with moody_node("a") as node, client() as session:
        node.health = status
        assert await probe(session, node.candidate().believed) is found


async def test_a_node_that_is_gone_is_unreachable_and_one_that_hangs_up_is_unclear() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with client() as session:
        gone = Moody("a", f"http://127.0.0.1:{free_port()}")
        assert await probe(session, gone.candidate().believed) is Found.UNREACHABLE
        server = await asyncio.start_server(hang_up, "127.0.0.1")
        async with server:
            rude = Moody("b", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            assert await probe(session, rude.candidate().believed) is Found.UNCLEAR


async def test_where_the_gateway_may_not_go_it_does_not_ask() -> None:
    async with moody_node("a") as node, client(allow_private=False) as session:
        node.url = node.url.replace("127.0.0.1", "localhost")
        assert await probe(session, node.candidate().believed) is Found.UNREACHABLE
        assert node.polled == 0


async def test_a_node_that_comes_back_is_found_without_a_request() -> None:
    balance, found, port = Balance(), Counter[Found](), free_port()
    gone = Moody("a", f"http://127.0.0.1:{port}")
    balance.unreachable(gone.candidate(), time.monotonic())
    async with client() as session:
        probing = Probing(session, balance, lambda each: found.update([each]), every_s=0.01, spread=lambda: 0.0)
        task = asyncio.create_task(probing.run())
        try:
            await until(lambda: found[Found.UNREACHABLE] > 1)
            assert balance.open_circuits == 1
            async with moody_node("a", port=port) as node:
                await until(lambda: balance.open_circuits == 0)
                assert balance.order([node.candidate()], time.monotonic()) == [node.candidate()]
                assert node.polled == 1, "well, and left in peace"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


async def test_a_node_that_starts_is_asked_again_and_changes_nothing() -> None:
    balance = Balance()
    async with moody_node("a") as node, client() as session:
        node.health = 503
        balance.unreachable(node.candidate(), time.monotonic())
        for asked in (1, 2, 3):
            await Probing(session, balance).ask()
            assert (node.polled, balance.open_circuits) == (asked, 1)
        node.health = 202
        await Probing(session, balance).ask()
        assert balance.open_circuits == 0


def test_a_busy_node_is_not_asked_how_it_is() -> None:
    balance, one = steady(), candidate("a")
    balance.busy(one, TooManyRequests("busy", retry_after_s=60), now=0.0)
    assert due(balance, 10.0) == []
