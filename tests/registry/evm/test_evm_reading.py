"""Reading a chain whose end moves, through hosts that lag, page, refuse, stall and lie."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from evm_boards import LIMIT_S, PATIENT, Host, Opener, first

from registry.backend import Unreachable, fetch_all
from registry.evm import EvmBackend, deploy
from tests.chain.anvil import Chain

MANY = 12


@pytest.fixture
async def texts(opened: Opener, own_chain: Chain) -> list[str]:
    """Postings on the board, each in a block of its own."""
    return await post(opened(payer=own_chain.payer), *(f"text-{number}" for number in range(MANY)))


async def post(board: EvmBackend, *texts: str) -> list[str]:
    for text in texts:
        await board.publish(text)
    return list(texts)


async def test_a_contract_exists_and_another_address_does_not(opened: Opener, own_chain: Chain) -> None:
    assert await opened().exists()
    other = EvmBackend(f"evm+{own_chain.rpc}/0x{'12' * 20}", None)
    assert not await other.exists() and await fetch_all(other) == []
    await other.close()


async def test_something_else_at_the_address_is_told(own_chain: Chain) -> None:
    address = "0x" + "34" * 20
    await own_chain.call("anvil_setCode", address, "0x60006000fd")
    board = EvmBackend(f"evm+{own_chain.rpc}/{address}", None)
    with pytest.raises(Unreachable, match="no Waypost registry"):
        await fetch_all(board)
    await board.close()


@pytest.mark.parametrize("mood", [{"range_limit": 3}, {"range_limit": 1}, {"result_limit": 2}, {"result_limit": 1}])
async def test_a_host_that_gives_little_at_once_is_read_whole(
    texts: list[str], opened: Opener, host: Host, own_chain: Chain, mood: dict[str, int]
) -> None:
    await own_chain.call("anvil_mine", hex(40))
    await host.behave(**mood)
    board = opened(host)
    assert await fetch_all(board) == texts
    watching = board.watch()
    await post(opened(payer=own_chain.payer), "next")
    assert await first(watching) == "next"


async def test_a_range_that_no_host_could_bear_is_halved_until_it_can(
    texts: list[str], opened: Opener, host: Host, own_chain: Chain
) -> None:
    await own_chain.call("anvil_mine", hex(1000))
    await host.behave(range_limit=100)
    assert await fetch_all(opened(host)) == texts
    assert (await host.calls())["eth_getLogs"] < 50


async def test_one_block_that_cannot_be_had_is_told_and_not_left_out(
    texts: list[str], opened: Opener, host: Host
) -> None:
    await host.behave(bad_block=5)
    board = opened(host)
    with pytest.raises(Unreachable, match="something went wrong"):
        await fetch_all(board)
    await host.behave()
    assert await fetch_all(board) == texts


async def test_entries_that_nobody_can_have_posted_are_left_out_and_counted(
    texts: list[str], opened: Opener, host: Host
) -> None:
    lies = ["address", "topic", "topics", "range", "removed", "repeated", "length", "padding", "nothing", "number"]
    await host.behave(lies=lies)
    board = opened(host)
    assert await fetch_all(board) == texts
    assert board.faults == MANY * len(lies)


@pytest.mark.parametrize(
    "mood",
    [
        {"stall": ["eth_getLogs"]},
        {"stall": ["eth_getBlockByNumber"]},
        {"status": {"eth_getLogs": 502}},
        {"status": {"eth_getLogs": 302}},
        {"status": {"eth_getLogs": 413}},
        {"refuse": {"eth_getLogs": "429 too many requests"}},
        {"refuse": {"eth_getBlockByNumber": "line\nbreak \x1b[31m" + "x" * 9999}},
        {"answer": {"eth_getLogs": {"not": "a list"}}},
        {"answer": {"eth_getBlockByNumber": {"number": "7", "hash": None}}},
        {"answer": {"eth_getBlockByNumber": {"number": "0xzz", "hash": "0x" + "1" * 64}}},
        {"answer": {"eth_call": "0x1"}},
        {"answer": {"eth_call": ["0x"]}},
    ],
)
async def test_a_host_that_does_not_serve_is_told_and_found_again(
    texts: list[str], opened: Opener, host: Host, mood: dict[str, object]
) -> None:
    board = opened(host)
    await host.behave(**mood)
    for attempt in (fetch_all(board), first(board.watch())):
        with pytest.raises(Unreachable) as caught:
            await asyncio.wait_for(attempt, LIMIT_S)
        assert host.url.removeprefix("http://") in str(caught.value)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    await host.behave()
    assert await fetch_all(board) == texts


async def test_a_host_that_limits_how_often_it_is_asked_is_not_asked_more(
    texts: list[str], opened: Opener, host: Host
) -> None:
    await host.behave(refuse={"eth_getLogs": "rate limit exceeded"})
    with pytest.raises(Unreachable):
        await fetch_all(opened(host))
    assert (await host.calls())["eth_getLogs"] == 1


async def test_a_host_that_lags_shows_all_in_the_end(texts: list[str], opened: Opener, host: Host) -> None:
    board = opened(host)
    await host.behave(behind=5)
    assert await fetch_all(board) == texts[:-5]
    told: list[str] = []

    async def follow() -> None:
        async for text in board.watch():
            told.append(text)

    following = asyncio.create_task(follow())
    for behind in (8, 3, 9, 1, 0):
        await host.behave(behind=behind)
        await host.called("eth_getLogs", 2)
    following.cancel()
    assert told == texts[-5:]


async def test_entries_that_come_late_are_found(texts: list[str], opened: Opener, host: Host, own_chain: Chain) -> None:
    board = opened(host)
    await host.behave(logs_behind=2)
    assert await fetch_all(board) == texts[:-2]
    watching = board.watch()
    waiting = asyncio.create_task(first(watching))
    await host.called("eth_getBlockByNumber", 3)  # it has looked again
    await host.behave()
    assert [await waiting, await first(watching)] == texts[-2:]


async def test_a_quiet_chain_costs_one_small_question_a_look(texts: list[str], opened: Opener, host: Host) -> None:
    board = opened(host, limits=replace(PATIENT, reread_s=60.0))
    await fetch_all(board)
    waiting = asyncio.create_task(first(board.watch()))
    await host.behave()
    await host.called("eth_blockNumber", 40)
    calls = await host.calls()
    assert calls["eth_getLogs"] <= calls["eth_blockNumber"] // 2 and "eth_call" not in calls
    waiting.cancel()


async def test_what_a_reorganisation_moves_is_told_once(opened: Opener, own_chain: Chain) -> None:
    board, payer = opened(), opened(payer=own_chain.payer)
    await post(payer, "a", "b")
    assert await fetch_all(board) == ["a", "b"]
    watching = board.watch()
    await post(payer, "c")
    assert await first(watching) == "c"
    raw = [await raw_transaction(own_chain, back) for back in (1, 0)]
    await own_chain.call("anvil_reorg", 2, [[raw[0], 1], [raw[1], 1]])  # "b" and "c" again, both in the last block
    await post(payer, "d")
    assert await first(watching) == "d"
    assert await fetch_all(board) == ["a", "b", "c", "d"]


async def raw_transaction(chain: Chain, back: int) -> str:
    head = int(await chain.call("eth_blockNumber"), 16)
    block = await chain.call("eth_getBlockByNumber", hex(head - back), False)
    raw: str = await chain.call("eth_getRawTransactionByHash", block["transactions"][0])
    return raw


async def test_what_stands_in_the_place_of_dropped_blocks_is_told(opened: Opener, own_chain: Chain) -> None:
    board, payer = opened(), opened(payer=own_chain.payer)
    await post(payer, "a", "b", "c")
    await fetch_all(board)
    watching = board.watch()
    await own_chain.call("anvil_reorg", 2, [])  # as many blocks, without "b" and "c"
    await own_chain.call("anvil_mine", "0x1")
    await post(opened(payer=own_chain.other_payer), "instead")
    assert await first(watching) == "instead"
    assert await fetch_all(board) == ["a", "instead"]


@pytest.mark.parametrize("blocks", [1, 3, 30, 400])
async def test_a_chain_that_was_set_back_misses_nothing(opened: Opener, own_chain: Chain, blocks: int) -> None:
    board, payer = opened(), opened(payer=own_chain.payer)
    await post(payer, "a")
    mark = await own_chain.call("evm_snapshot")
    await own_chain.call("anvil_mine", hex(blocks - 1))
    await post(payer, "lost")
    assert await fetch_all(board) == ["a", "lost"]
    watching = board.watch()
    assert await own_chain.call("evm_revert", mark)
    await own_chain.call("anvil_mine", hex(blocks - 1))
    await post(payer, "new")  # at the same height as "lost" was
    told = [await first(watching)]
    while told[-1] != "new":
        told.append(await first(watching))
    assert told in (["new"], ["a", "new"])


async def test_a_chain_that_began_anew_is_read_anew(opened: Opener, own_chain: Chain, contract: str) -> None:
    board = opened()
    await post(opened(payer=own_chain.payer), "old")
    await fetch_all(board)
    waiting = asyncio.create_task(first(board.watch()))
    await own_chain.call("anvil_reset")
    await own_chain.call("anvil_setNonce", own_chain.payer.address, "0x0")
    assert f"/{contract}?chain=31337" in await deploy(f"evm+{own_chain.rpc}", own_chain.payer)
    await post(opened(payer=own_chain.payer), "new")
    assert await waiting == "new"


async def test_a_chain_that_is_set_back_while_it_is_read_is_watched_on(
    opened: Opener, own_chain: Chain, host: Host
) -> None:
    board = opened(host)
    await host.behave(sheds=2)
    await post(opened(payer=own_chain.payer), "a")
    watching = asyncio.create_task(first(board.watch()))
    await host.called("eth_getBlockByNumber", 3)  # it has looked again
    await host.behave()
    assert await watching == "a"


async def test_watching_goes_on_where_it_failed(texts: list[str], opened: Opener, host: Host) -> None:
    board = opened(host)
    await host.behave(range_limit=4, bad_block=8)
    told: list[str] = []
    for mood in ({"range_limit": 4}, {}):
        watching = board.watch()
        with pytest.raises(Unreachable):
            while True:
                told.append(await first(watching))
        assert told == texts[: len(told)] and told
        await host.behave(**mood, bad_block=8 if mood else None)
    watching = board.watch()
    while len(told) < MANY:
        told.append(await first(watching))
    assert told == texts
