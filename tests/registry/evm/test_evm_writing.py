"""Posting: who pays, what it says where it cannot, and that each posting gets into a block once."""

from __future__ import annotations

import asyncio

import pytest
import rlp
from eth_account import Account
from evm_boards import PATIENT, SHORT, Host, Opener
from hypothesis import given
from hypothesis import strategies as st

from registry.backend import Pending, Rejected, Unreachable, fetch_all
from registry.evm import EvmBackend, deploy
from registry.evm.transactions import Fees, Transaction, signed, transaction_hash
from registry.keys import Wallet
from tests.chain.anvil import CHAIN_ID, Chain, anvil


@given(
    st.integers(1, 2**63),
    st.integers(0, 2**63),
    st.integers(0, 2**90),
    st.one_of(st.none(), st.integers(0, 2**90)),
    st.integers(0, 2**63),
    st.sampled_from((b"", b"\x01" * 20)),
    st.binary(max_size=90),
    st.integers(1, 2**255).map(lambda number: number.to_bytes(32)),
)
def test_transactions_are_what_another_library_reads(
    chain: int, nonce: int, most: int, tip: int | None, gas: int, to: bytes, data: bytes, secret: bytes
) -> None:
    payer = Wallet(secret)
    raw = signed(Transaction(chain, nonce, Fees(most, tip), gas, to, data), payer)
    assert Account.recover_transaction(raw).lower() == payer.address
    assert transaction_hash(raw).startswith("0x")
    fields = rlp.decode(raw[1:]) if tip is not None else rlp.decode(raw)
    assert data in fields and to in fields


async def test_without_a_payer_it_says_what_is_needed(opened: Opener) -> None:
    with pytest.raises(Rejected, match="--payer-key FILE"):
        await opened().publish("x")


async def test_a_wallet_without_funds_is_named_with_what_it_has_and_needs(opened: Opener, own_chain: Chain) -> None:
    poor = Wallet.new()
    board = opened(payer=poor)
    with pytest.raises(
        Rejected, match=rf"{poor.address} has 0 coins on chain {CHAIN_ID}, .* cost 0\.0.* send it funds"
    ):
        await board.publish("x")
    with pytest.raises(Rejected, match=poor.address):
        await deploy(f"evm+{own_chain.rpc}", poor)
    await own_chain.call("anvil_setBalance", poor.address, hex(10**18))
    await board.publish("x")
    assert await fetch_all(board) == ["x"]


async def test_where_no_contract_is_nothing_is_paid_for(own_chain: Chain) -> None:
    board = EvmBackend(f"evm+{own_chain.rpc}/0x{'12' * 20}", own_chain.payer)
    with pytest.raises(Rejected, match="waypost registry create"):
        await board.publish("x")
    assert await own_chain.call("eth_blockNumber") == "0x0"
    await board.close()


async def test_the_wrong_chain_is_not_paid_on(own_chain: Chain, contract: str) -> None:
    before = await own_chain.call("eth_blockNumber")
    board = EvmBackend(f"evm+{own_chain.rpc}/{contract}?chain=1", own_chain.payer)
    with pytest.raises(Rejected, match="of chain 31337, the URL says 1; correct one"):
        await board.publish("x")
    assert await own_chain.call("eth_blockNumber") == before
    await board.close()


async def test_the_same_text_can_be_posted_again(opened: Opener, own_chain: Chain) -> None:
    board = opened(payer=own_chain.payer)
    for _ in range(3):
        await board.publish("x")
    assert await fetch_all(board) == ["x"] * 3


async def test_one_wallet_may_pay_for_many_at_once(opened: Opener, own_chain: Chain) -> None:
    boards = [opened(payer=own_chain.payer, limits=PATIENT) for _ in range(4)]
    names = [f"{number}-{name}" for number in range(4) for name in range(5)]
    await asyncio.gather(*(boards[number % 4].publish(name) for number, name in enumerate(names)))
    assert sorted(await fetch_all(opened())) == sorted(names)


async def test_one_wallet_may_pay_for_many_at_once_where_blocks_take_time(opened: Opener, own_chain: Chain) -> None:
    await own_chain.call("evm_setAutomine", False)
    await own_chain.call("evm_setIntervalMining", 1)
    boards = [opened(payer=own_chain.payer, limits=PATIENT) for _ in range(4)]
    await asyncio.gather(*(board.publish(str(number)) for number, board in enumerate(boards)))
    assert sorted(await fetch_all(opened())) == ["0", "1", "2", "3"]


async def test_what_is_not_in_a_block_is_pending_and_posted_once(opened: Opener, own_chain: Chain) -> None:
    board = opened(payer=own_chain.payer)
    await own_chain.call("evm_setAutomine", False)
    for _ in range(3):  # each time with a higher fee, in the place of the one before
        with pytest.raises(Pending, match="not in a block yet; publishing the same again asks"):
            await board.publish("x")
    await own_chain.call("anvil_mine", "0x1")
    await board.publish("x")
    assert await fetch_all(board) == ["x"]


async def test_what_the_host_lost_is_sent_again(opened: Opener, own_chain: Chain, host: Host) -> None:
    board = opened(host, own_chain.payer)
    await host.behave(swallow=True)
    with pytest.raises(Pending):
        await board.publish("x")
    await host.behave()
    await board.publish("x")
    assert await fetch_all(board) == ["x"]


async def test_what_was_pushed_out_by_another_is_sent_anew(opened: Opener, own_chain: Chain) -> None:
    board = opened(payer=own_chain.payer)
    await own_chain.call("evm_setAutomine", False)
    with pytest.raises(Pending):
        await board.publish("x")
    await own_chain.call("anvil_dropAllTransactions")
    await own_chain.call("evm_setAutomine", True)
    other = opened(payer=own_chain.payer)
    await other.publish("y")  # takes the nonce
    await board.publish("x")
    assert await fetch_all(board) == ["y", "x"]


async def test_an_answer_that_got_lost_does_not_post_twice(opened: Opener, own_chain: Chain, host: Host) -> None:
    board = opened(host, own_chain.payer)
    await host.behave(status={"eth_getTransactionReceipt": 502})
    with pytest.raises(Unreachable, match="502"):
        await board.publish("x")
    await host.behave()
    await board.publish("x")
    assert await fetch_all(board) == ["x"]


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ({"refuse": {"eth_estimateGas": "execution reverted"}}, "refuses it"),
        ({"refuse": {"eth_sendRawTransaction": "insufficient funds for gas * price + value"}}, "send it funds"),
        ({"refuse": {"eth_sendRawTransaction": "invalid chain id for signer"}}, "invalid chain id"),
        ({"answer": {"eth_getTransactionReceipt": {"status": "0x0"}}}, "failed in its block"),
    ],
)
async def test_what_will_not_mend_itself_is_a_refusal(
    opened: Opener, own_chain: Chain, host: Host, mood: dict[str, object], said: str
) -> None:
    board = opened(host, own_chain.payer)
    await host.behave(**mood)
    with pytest.raises(Rejected, match=said):
        await board.publish("x")


@pytest.mark.parametrize("method", ["eth_chainId", "eth_estimateGas", "eth_getBalance", "eth_sendRawTransaction"])
async def test_a_host_that_does_not_serve_is_told(opened: Opener, own_chain: Chain, host: Host, method: str) -> None:
    board = opened(host, own_chain.payer)
    for mood in ({"stall": [method]}, {"status": {method: 500}}, {"refuse": {method: "internal error"}}):
        await host.behave(**mood)
        with pytest.raises(Unreachable, match=method):
            await board.publish("x")
    await host.behave()
    await board.publish("x")
    assert await fetch_all(board) == ["x"]


async def test_a_host_without_tips_and_a_chain_without_base_fee(own_chain: Chain, opened: Opener, host: Host) -> None:
    await host.behave(refuse={"eth_maxPriorityFeePerGas": "method not found"})
    board = opened(host, own_chain.payer)
    await board.publish("x")
    await host.behave(answer={"eth_getBlockByNumber": {"number": "0x1"}})
    await board.publish("y")
    await host.behave()
    assert await fetch_all(board) == ["x", "y"]


async def test_an_old_chain(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with anvil(tmp_path_factory.mktemp("old"), "--hardfork", "istanbul") as chain:
        board = EvmBackend(await deploy(f"evm+{chain.rpc}", chain.payer), chain.payer, SHORT)
        await board.publish("x")
        assert await fetch_all(board) == ["x"]
        await board.close()


async def test_closed_is_closed(opened: Opener, own_chain: Chain) -> None:
    board = opened(payer=own_chain.payer)
    await board.publish("x")
    await board.close()
    await board.close()
    for attempt in (board.exists(), board.publish("y"), fetch_all(board), anext(board.watch())):
        with pytest.raises(Unreachable, match="closed"):
            await attempt
