"""What posting may cost: never more than the URL allows, whatever a host says, and enough to get into a block."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evm_boards import SHORT, Host, Opener
from hypothesis import given
from hypothesis import strategies as st

from registry.backend import Pending, Rejected, fetch_all
from registry.evm import EvmBackend, deploy
from registry.evm.fees import dearer, raised
from registry.evm.transactions import Fees
from tests.chain.anvil import Chain

GWEI = 10**9
MOST = 100 * GWEI
WEI = st.integers(0, MOST)
OLD_BLOCK = {"eth_getBlockByNumber": {"number": "0x1"}}  # of a chain without base fee


async def sent(chain: Chain) -> int:
    return int(await chain.call("eth_getTransactionCount", chain.payer.address, "pending"), 16)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"eth_maxPriorityFeePerGas": hex(3 * 10**18)}, r"a tip of 3e\+09 gwei, and at most 100 gwei .* max_gwei=N"),
        ({"eth_maxPriorityFeePerGas": hex(MOST + 1)}, "at most 100 gwei"),
        ({**OLD_BLOCK, "eth_gasPrice": hex(250 * GWEI)}, "a gas price of 250 gwei, and at most 100 gwei"),
        ({"eth_estimateGas": hex(30_000_000)}, "it takes 30000000 gas, and 4000000 is more than enough"),
    ],
)
async def test_a_host_that_asks_for_too_much_gets_nothing(
    opened: Opener, own_chain: Chain, host: Host, answers: dict[str, object], said: str
) -> None:
    board, before = opened(host, own_chain.payer), await sent(own_chain)
    await host.behave(answer=answers)
    with pytest.raises(Rejected, match=said):
        await board.publish("x")
    assert await sent(own_chain) == before


async def test_a_new_contract_has_its_own_limit_of_gas(own_chain: Chain, host: Host) -> None:
    await host.behave(answer={"eth_estimateGas": hex(2_000_000)})
    with pytest.raises(Rejected, match="it takes 2000000 gas"):
        await deploy(f"evm+{host.url}", own_chain.payer)
    assert await sent(own_chain) == 0


async def test_the_url_says_how_much_is_allowed(own_chain: Chain, contract: str, host: Host) -> None:
    await host.behave(answer={"eth_maxPriorityFeePerGas": hex(200 * GWEI)})
    for most, allowed in ((199, False), (200, True)):
        board = EvmBackend(f"evm+{host.url}/{contract}?max_gwei={most}", own_chain.payer, SHORT)
        if allowed:
            await board.publish("x")
        else:
            with pytest.raises(Rejected, match="at most 199 gwei"):
                await board.publish("x")
        await board.close()
    block = await own_chain.call("eth_getBlockByNumber", "latest", True)
    assert int(block["transactions"][0]["maxPriorityFeePerGas"], 16) == 200 * GWEI


@pytest.mark.parametrize("answers", [{"eth_maxPriorityFeePerGas": "0x0"}, {**OLD_BLOCK, "eth_gasPrice": hex(GWEI)}])
@pytest.mark.parametrize("words", [None, "transaction underpriced", "Gas price below configured minimum gas price"])
async def test_a_host_that_wants_a_higher_tip_gets_it(
    opened: Opener, own_chain: Chain, host: Host, answers: dict[str, object], words: str | None
) -> None:
    cheap = {"cheap": words} if words else {}
    await host.behave(answer=answers, least_tip=7 * GWEI, **cheap)
    await opened(host, own_chain.payer).publish("x")
    calls = (await host.calls())["eth_sendRawTransaction"]
    assert calls <= 5 if words else calls == 2  # told what is needed, it needs no more trials
    await host.behave()
    assert await fetch_all(opened(host)) == ["x"]


@pytest.mark.parametrize("words", [None, "transaction underpriced"])
async def test_a_host_that_wants_a_higher_tip_than_is_allowed_is_told(
    opened: Opener, own_chain: Chain, host: Host, words: str | None
) -> None:
    before = await sent(own_chain)
    await host.behave(least_tip=MOST + 1, **({"cheap": words} if words else {}))
    with pytest.raises(Rejected, match=f"{words or f'minimum needed {MOST + 1}'}; the URL allows 100 gwei; more with"):
        await opened(host, own_chain.payer).publish("x")
    assert await sent(own_chain) == before and (await host.calls())["eth_sendRawTransaction"] <= 9


@given(WEI, st.one_of(st.none(), WEI), st.integers(0, 2**256), st.one_of(st.none(), st.integers(0, 2**99)))
def test_offers_grow_up_to_what_is_allowed_and_end_there(
    base: int, tip: int | None, now: int, need: int | None
) -> None:
    first = Fees(base + (tip or 0) if tip is not None else base, tip)
    said = "transaction underpriced" if need is None else f"gas tip cap 0, minimum needed {need}"
    now_paid = Fees(now, None if tip is None else now)
    for raise_once in (lambda fees: dearer(fees, said, MOST), lambda fees: raised(fees, now_paid, MOST)):
        fees: Fees | None = first
        for _ in range(200):
            higher = raise_once(fees)
            if higher is None:
                break
            assert fees.offered < higher.offered <= MOST and higher.most > fees.most
            assert higher.tip is None or higher.tip <= higher.most
            fees = higher
        else:
            raise AssertionError("no end")


async def test_at_the_highest_fee_it_is_waited_for(own_chain: Chain, contract: str) -> None:
    board = EvmBackend(f"evm+{own_chain.rpc}/{contract}?max_gwei=1", own_chain.payer, SHORT)
    await own_chain.call("evm_setAutomine", False)
    told = set()
    for _ in range(3):
        with pytest.raises(Pending) as caught:
            await board.publish("x")
        told.add(str(caught.value))
    assert len(told) == 1  # one version
    await own_chain.call("anvil_mine", "0x1")
    await board.publish("x")
    assert await fetch_all(board) == ["x"]
    await board.close()


async def test_what_is_in_a_block_by_now_is_posted_whatever_the_host_asks_for_now(
    opened: Opener, own_chain: Chain, host: Host
) -> None:
    board = opened(host, own_chain.payer)
    await own_chain.call("evm_setAutomine", False)
    with pytest.raises(Pending):
        await board.publish("x")
    await host.behave(answer={"eth_maxPriorityFeePerGas": hex(MOST + 1)})
    with pytest.raises(Pending):
        await board.publish("x")
    await own_chain.call("anvil_mine", "0x1")
    await board.publish("x")
    assert await fetch_all(board) == ["x"]


async def test_what_is_stuck_gives_its_place_to_what_is_newer(opened: Opener, own_chain: Chain) -> None:
    board = opened(payer=own_chain.payer, limits=replace(SHORT, stuck_s=0.0, bump_s=60.0))
    before = await sent(own_chain)
    await own_chain.call("evm_setAutomine", False)
    for text in ("old", "newer", "newest"):
        with pytest.raises(Pending):
            await board.publish(text)
        assert await sent(own_chain) == before + 1
    await own_chain.call("anvil_mine", "0x1")
    await own_chain.call("evm_setAutomine", True)
    await board.publish("newest")
    assert await fetch_all(board) == ["newest"]
    await board.publish("old")  # whoever still wants it
    assert await fetch_all(board) == ["newest", "old"]


async def test_what_is_not_stuck_for_long_keeps_its_place(opened: Opener, own_chain: Chain) -> None:
    board = opened(payer=own_chain.payer)
    await own_chain.call("evm_setAutomine", False)
    for text in ("a", "b"):
        with pytest.raises(Pending):
            await board.publish(text)
    await own_chain.call("anvil_mine", "0x1")
    await board.publish("a")
    assert await fetch_all(board) == ["a", "b"]
