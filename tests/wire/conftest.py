"""One gateway for all that leaves it as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.wire.scene import Scene
from tests.wire.scene import scene as make_scene


@pytest.fixture(scope="package")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with make_scene(tmp_path_factory.mktemp("wire")) as made:
        yield made
