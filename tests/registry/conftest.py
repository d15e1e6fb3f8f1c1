"""A board of each kind; a node of Aleph's network and a chain run once for all tests that leave them in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boards import KINDS, Board, new_board

from tests.chain.anvil import Chain, anvil
from tests.fakes.aleph import AlephNode, aleph_node


@pytest.fixture(scope="session")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AlephNode]:
    async with aleph_node(tmp_path_factory.mktemp("aleph")) as node:
        yield node


@pytest.fixture(scope="session")
async def chain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chain]:
    async with anvil(tmp_path_factory.mktemp("chain")) as running:
        yield running


@pytest.fixture(params=KINDS)
async def board(
    request: pytest.FixtureRequest, tmp_path: Path, network: AlephNode, chain: Chain
) -> AsyncIterator[Board]:
    """An empty board of each kind."""
    async with new_board(request.param, tmp_path, network, chain) as made:
        yield made
