"""Putting the contract on a chain."""

from __future__ import annotations

import re

from registry.backend import Unreachable
from registry.evm.abi import bytecode
from registry.evm.limits import Limits, limits_of
from registry.evm.rpc import Rpc
from registry.evm.sender import DEPLOY_GAS, Sender
from registry.evm.url import parse_chain
from registry.keys import Wallet

__all__ = ["deploy"]

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


async def deploy(url: str, payer: Wallet, limits: Limits | None = None) -> str:
    """Put the contract on the chain behind `evm+https://RPC_HOST[/PATH]`; the whole registry URL to use from then on.

    The URL names the chain too: on another one there may be another contract at the same address.
    ValueError for a wrong URL; raises Pending, Rejected, Unreachable.
    """
    place = parse_chain(url)
    rpc = Rpc(place, limits or limits_of(place.near))
    try:
        chain = await rpc.quantity("eth_chainId")
        receipt = await Sender(rpc, payer).send(b"", bytecode(), DEPLOY_GAS)
    finally:
        await rpc.close()
    address = receipt.get("contractAddress")
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise Unreachable(rpc.line("does not say which address the contract has"))
    return place.with_contract(address.lower(), chain)
