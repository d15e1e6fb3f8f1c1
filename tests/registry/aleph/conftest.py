"""A fake node for each test, since most of them bend it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aleph_boards import Opener

from registry.aleph import AlephBackend, Limits
from registry.keys import Wallet
from tests.fakes.aleph import AlephNode, aleph_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[AlephNode]:
    async with aleph_node(tmp_path) as running:
        yield running


@pytest.fixture
async def opened(node: AlephNode) -> AsyncIterator[Opener]:
    """Opens backends of the node's channel; all are closed at the end."""
    backends: list[AlephBackend] = []

    def open_one(author: Wallet | None = None, limits: Limits | None = None) -> AlephBackend:
        backends.append(AlephBackend(node.registry, author, limits))
        return backends[-1]

    yield open_one
    for backend in backends:
        await backend.close()
