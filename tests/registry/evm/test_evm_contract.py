"""The contract: what is committed is what its source compiles to, and it does what it says."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest
from evm_boards import LIMIT_S, Opener

from registry.backend import Rejected
from registry.evm import EvmBackend, deploy
from registry.evm.abi import MAX_PAYLOAD_BYTES, POSTED, post_call
from registry.evm.limits import NEAR
from registry.evm.rpc import Rpc
from registry.evm.sender import POST_GAS, Sender
from registry.evm.url import parse_place
from tests.chain.anvil import CHAIN_ID, Chain

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "registry" / "contract"


async def test_compiling_again_gives_what_is_committed() -> None:
    node = shutil.which("node")
    if node is None or not (ROOT / "tests" / "chain" / "node_modules" / "solc").exists():
        pytest.skip("solc is not installed: run scripts/node_packages.sh chain (needs npm)")
    process = await asyncio.create_subprocess_exec(
        node, str(ROOT / "tests" / "chain" / "compile.cjs"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    assert process.returncode == 0
    files = json.loads(out)
    assert sorted(files) == sorted(file.name for file in FOLDER.iterdir() if file.suffix in (".json", ".hex"))
    for name, content in files.items():
        assert (FOLDER / name).read_text() == content, f"{name}: run `node tests/chain/compile.cjs --write`"


def test_the_interface_is_a_post_an_event_and_nothing_to_own() -> None:
    abi = {entry["name"]: entry for entry in json.loads((FOLDER / "Registry.abi.json").read_text())}
    assert sorted(abi) == ["MAX_BYTES", "Posted", "TooLarge", "post", "since"]
    assert [entry["indexed"] for entry in abi["Posted"]["inputs"]] == [True, True, True, False]


async def test_the_url_of_a_new_contract_names_its_chain(own_chain: Chain) -> None:
    url = await deploy(f"evm+{own_chain.rpc}/", own_chain.payer)
    assert re.fullmatch(rf"evm\+{own_chain.rpc}/0x[0-9a-f]{{40}}\?chain={CHAIN_ID}", url)
    board = EvmBackend(url, None)
    assert await board.exists() and board.board.endswith(f":{CHAIN_ID}")
    await board.close()


async def test_what_is_posted_stands_in_the_log_with_its_sender(own_chain: Chain, contract: str) -> None:
    rpc = Rpc(parse_place(f"evm+{own_chain.rpc}/{contract}"), NEAR)
    data = post_call(2, b"\x77" * 32, b"payload")
    receipt = await Sender(rpc, own_chain.payer).send(bytes.fromhex(contract[2:]), data, POST_GAS)
    await rpc.close()
    (log,) = receipt["logs"]
    sender = "0x" + own_chain.payer.address[2:].zfill(64)
    assert log["topics"] == [POSTED, f"0x{2:064x}", "0x" + "77" * 32, sender]


async def test_the_largest_payload_is_taken_and_one_byte_more_is_not(own_chain: Chain, contract: str) -> None:
    rpc = Rpc(parse_place(f"evm+{own_chain.rpc}/{contract}"), NEAR)
    sender = Sender(rpc, own_chain.payer)
    to = bytes.fromhex(contract[2:])
    receipt = await sender.send(to, post_call(0, bytes(32), b"\xff" * MAX_PAYLOAD_BYTES), POST_GAS)
    assert int(receipt["gasUsed"], 16) < 2**22
    with pytest.raises(Rejected, match=f"{MAX_PAYLOAD_BYTES + 1} bytes, and it takes at most {MAX_PAYLOAD_BYTES}"):
        await sender.send(to, post_call(0, bytes(32), b"\xff" * (MAX_PAYLOAD_BYTES + 1)), POST_GAS)
    await rpc.close()


async def test_a_text_that_does_not_fit_is_refused_before_it_costs(opened: Opener, own_chain: Chain) -> None:
    board = opened(payer=own_chain.payer)
    before = await own_chain.call("eth_getTransactionCount", own_chain.payer.address, "latest")
    with pytest.raises(Rejected, match=f"at most {MAX_PAYLOAD_BYTES}"):
        await board.publish("".join(chr(0x4E00 + number * 7919 % 20000) for number in range(60_000)))
    assert await own_chain.call("eth_getTransactionCount", own_chain.payer.address, "latest") == before
