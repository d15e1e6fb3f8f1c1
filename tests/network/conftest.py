"""One network for this room, with a gateway's host and two that speak; each test has its own registry and gateway.

Faults end with the test that made them, so the hosts are as new for the next one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.gateway.scene import Operator
from tests.network.hosts import Host, Network, network, why_not
from tests.network.scene import Scene, Speaker, door, speaking


@dataclass(frozen=True)
class Stage:
    """What the tests share."""

    network: Network
    gateway: Host
    url: str
    speakers: tuple[Speaker, ...]


@pytest.fixture(scope="package")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Skips, with the reason, where there can be no such network."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("network")
    with network() as made, made.host("gateway") as gateway:
        async with (
            door(gateway, folder) as url,
            speaking(made, folder, "near") as near,
            speaking(made, folder, "far") as far,
        ):
            yield Stage(made, gateway, url, (near, far))


@pytest.fixture
async def scene(stage: Stage, tmp_path: Path) -> Scene:
    """Two speakers that were asked nothing yet, both advertised: `near` is asked before `far`. No gateway runs."""
    operator, user = Operator(f"sqlite:///{tmp_path}/registry.db"), tmp_path.name
    made = Scene(tmp_path, stage.network, stage.gateway, stage.url, operator, user)
    for speaker in stage.speakers:
        made.speakers.append(replace(speaker, user=user))
        await made.advertise(speaker)
    return made
