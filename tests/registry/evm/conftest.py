"""A chain for each test, since most of them bend it, with a contract on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from evm_boards import SHORT, Host, Opener, proxy

from registry.evm import EvmBackend, deploy
from registry.evm.limits import Limits
from registry.keys import Wallet
from tests.chain.anvil import Chain, anvil


@pytest.fixture
async def own_chain(tmp_path: Path) -> AsyncIterator[Chain]:
    async with anvil(tmp_path) as running:
        yield running


@pytest.fixture
async def contract(own_chain: Chain) -> str:
    """The address of a new contract."""
    return (await deploy(f"evm+{own_chain.rpc}", own_chain.payer)).rpartition("/")[2].partition("?")[0]


@pytest.fixture
async def host(own_chain: Chain, tmp_path: Path) -> AsyncIterator[Host]:
    async with proxy(own_chain.rpc, tmp_path) as running:
        yield running


@pytest.fixture
async def opened(own_chain: Chain, contract: str) -> AsyncIterator[Opener]:
    """Opens backends of the contract, through any host; all are closed at the end."""
    backends: list[EvmBackend] = []

    def open_one(host: Host | None = None, payer: Wallet | None = None, limits: Limits = SHORT) -> EvmBackend:
        rpc = host.url if host else own_chain.rpc
        backends.append(EvmBackend(f"evm+{rpc}/{contract}", payer, limits))
        return backends[-1]

    yield open_one
    for backend in backends:
        await backend.close()
