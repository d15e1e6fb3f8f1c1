"""A fake node for each file of tests, bent by most of them and set right again, and a channel for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aleph_boards import Channel, Opener

from registry.aleph import AlephBackend, Limits
from registry.keys import Wallet
from tests.fakes.aleph import AlephNode, aleph_node


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an operator's own list of rights is kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "waypost"


@pytest.fixture(scope="module")
async def shared_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AlephNode]:
    async with aleph_node(tmp_path_factory.mktemp("aleph")) as running:
        yield running


@pytest.fixture
async def node(shared_node: AlephNode) -> AsyncIterator[Channel]:
    yield Channel(shared_node, f"TEST-{uuid4().hex}")
    await shared_node.control(reset=True, drop_sockets=True)
    await shared_node.reached(lambda counts: not counts["sockets_open"])
    await shared_node.control(reset_counts=True)


@pytest.fixture
async def opened(node: Channel) -> AsyncIterator[Opener]:
    """Opens backends of the test's channel; all are closed at the end."""
    backends: list[AlephBackend] = []

    def open_one(author: Wallet | None = None, limits: Limits | None = None) -> AlephBackend:
        backends.append(AlephBackend(node.registry, author, limits))
        return backends[-1]

    yield open_one
    for backend in backends:
        await backend.close()
