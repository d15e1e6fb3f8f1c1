"""Postings and hosts made to cost their reader, or their payer, more than they should."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from evm_boards import LIMIT_S, SHORT, Host, Opener, first

from registry.advert import MAX_ENVELOPE_BYTES
from registry.backend import Rejected, Unreachable, fetch_all
from registry.evm import EvmBackend
from registry.evm.abi import post_call
from registry.evm.payload import BATCH_CHARS, pack
from registry.evm.rpc import Rpc
from registry.evm.sender import POST_GAS, Sender
from registry.evm.url import parse_place
from tests.chain.anvil import Chain

ROOT = Path(__file__).resolve().parents[3]
BOMBS = 2_000  # half a gigabyte, when unpacked
MOST_KIB = 200 * 1024
READER = """
import asyncio, json, re, sys
from pathlib import Path
from registry.backend import open_backend

async def main(url, watch):
    board, count, largest = open_backend(url), 0, 0
    if watch == "watch":
        async for text in board.watch():
            count += 1
            if count == int(sys.argv[3]):
                break
    else:
        async for batch in board.fetch():
            count, largest = count + len(batch), max(largest, sum(map(len, batch)))
    peak_kib = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    print(json.dumps([count, largest, peak_kib]))

asyncio.run(main(*sys.argv[1:3]))
"""


@pytest.mark.parametrize("how", ["fetch", "watch"])
async def test_postings_that_grow_when_unpacked_take_little_memory(
    own_chain: Chain, contract: str, host: Host, how: str
) -> None:
    rpc = Rpc(parse_place(f"evm+{own_chain.rpc}/{contract}"), SHORT)
    bomb = post_call(0, bytes(32), pack("x" * MAX_ENVELOPE_BYTES))
    receipt = await Sender(rpc, own_chain.payer).send(bytes.fromhex(contract[2:]), bomb, POST_GAS)
    await rpc.close()
    (log,) = receipt["logs"]
    await host.behave(answer={"eth_getLogs": [{**log, "logIndex": hex(number)} for number in range(BOMBS)]})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, f"evm+{host.url}/{contract}", how, str(BOMBS), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    count, largest, peak_kib = json.loads(out)
    assert count == BOMBS and peak_kib < MOST_KIB and largest < BATCH_CHARS + MAX_ENVELOPE_BYTES


async def test_what_a_watcher_did_not_get_it_gets_later(opened: Opener, own_chain: Chain) -> None:
    payer, board = opened(payer=own_chain.payer), opened()
    texts = [f"{number}" for number in range(5)]
    for text in texts:
        await payer.publish(text)
    for text in texts[:2]:  # each time another watch, which ends after one posting
        assert await first(board.watch()) == text
    watching = board.watch()
    assert [await first(watching) for _ in texts[2:]] == texts[2:]


@pytest.mark.parametrize("code", ["0x00", "0x60006000fd", "0xfe"])
async def test_to_something_else_at_the_address_nothing_is_paid(own_chain: Chain, code: str) -> None:
    address = "0x" + "56" * 20
    await own_chain.call("anvil_setCode", address, code)
    board = EvmBackend(f"evm+{own_chain.rpc}/{address}", own_chain.payer, SHORT)
    assert await board.exists()
    for attempt in (fetch_all(board), first(board.watch())):
        with pytest.raises(Unreachable, match="no Waypost registry at this address"):
            await attempt
    with pytest.raises(Rejected, match="no Waypost registry at this address"):
        await board.publish("x")
    assert await own_chain.call("eth_getTransactionCount", own_chain.payer.address, "pending") == "0x0"
    await board.close()


async def test_a_registry_is_asked_once_what_it_is(opened: Opener, own_chain: Chain, host: Host) -> None:
    board = opened(host, own_chain.payer)
    await host.behave(refuse={"eth_call": "rate limit"})
    with pytest.raises(Unreachable, match="eth_call: rate limit"):
        await board.publish("x")
    await host.behave()
    for text in ("x", "y"):
        await board.publish(text)
    assert (await host.calls())["eth_call"] == 1


@pytest.mark.parametrize(
    ("head", "limits", "said"),
    [
        (2**60, SHORT, f"claims a block {2**60}, and no chain has as many"),
        (2**40, replace(SHORT, empty_ranges=30), f"shows no entry in 30 answers, and is at block .* of {2**40}"),
        (2**40, replace(SHORT, empty_s=0.2), "shows no entry in .* use a host that answers larger ranges"),
    ],
)
async def test_a_chain_without_end_is_not_read_for_ever(
    opened: Opener, host: Host, head: int, limits: object, said: str
) -> None:
    block = {"number": hex(head), "hash": "0x" + "77" * 32}
    await host.behave(answer={"eth_getBlockByNumber": block, "eth_getLogs": []})
    board = opened(host, limits=limits)
    for attempt in (fetch_all(board), first(board.watch())):
        with pytest.raises(Unreachable, match=said):
            await asyncio.wait_for(attempt, LIMIT_S)


async def test_a_long_chain_with_entries_here_and_there_is_read_whole(
    opened: Opener, own_chain: Chain, host: Host
) -> None:
    payer, texts = opened(payer=own_chain.payer), ["a", "b", "c"]
    for text in texts:
        await own_chain.call("anvil_mine", hex(20))
        await payer.publish(text)
    await host.behave(range_limit=1)
    assert await fetch_all(opened(host, limits=replace(SHORT, empty_ranges=36))) == texts
    with pytest.raises(Unreachable, match="shows no entry in 15 answers"):
        await fetch_all(opened(host, limits=replace(SHORT, empty_ranges=15)))


async def test_an_answer_of_nothing_but_small_values_is_not_taken_apart(opened: Opener, host: Host) -> None:
    await host.behave(answer={"eth_getLogs": [[]] * 1_000_000})
    with pytest.raises(Unreachable, match="nothing that makes sense to eth_getLogs"):
        await fetch_all(opened(host))


async def test_what_the_house_says_itself_is_told_as_it_is(own_chain: Chain, contract: str, host: Host) -> None:
    board = EvmBackend(f"evm+{host.url}/1/eth_getBlockByNumber/LONGSECRET/{contract}", None, SHORT)
    await host.behave(refuse={"eth_getBlockByNumber": "eth error 1 with LONGSECRET"})
    with pytest.raises(Unreachable, match="/[.]{3}/" + contract + ": eth_getBlockByNumber: eth error 1 with [.]{3}$"):
        await fetch_all(board)
    await board.close()


async def test_the_wrong_chain_is_told(own_chain: Chain, contract: str) -> None:
    right = EvmBackend(f"evm+{own_chain.rpc}/{contract}?chain=31337", None)
    assert await right.exists() and await fetch_all(right) == []
    wrong = EvmBackend(f"evm+{own_chain.rpc}/{contract}?chain=1", own_chain.payer)
    for attempt in (wrong.exists(), fetch_all(wrong), first(wrong.watch())):
        with pytest.raises(Unreachable, match="of chain 31337, the URL says 1"):
            await attempt
    await right.close()
    await wrong.close()


async def test_a_key_in_the_url_is_used_and_never_told(own_chain: Chain, host: Host, contract: str) -> None:
    url = f"evm+{host.url}/v3/SECRET11/{contract}?token=SECRET2"
    board = EvmBackend(url.replace("http://", "http://me:SECRET3@"), None)
    assert await board.exists()
    await host.behave(refuse={"eth_getBlockByNumber": "bad key SECRET11, bad token SECRET2"})
    with pytest.raises(Unreachable) as caught:
        await fetch_all(board)
    assert "SECRET" not in f"{caught.value}{board!r}{board.url}{board.board}"
    await board.close()
