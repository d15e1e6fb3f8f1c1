"""Each test of the upstream side runs on both loops."""

from __future__ import annotations

import pytest

from tests.relay.wire.scene import Run, run_on


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return run_on(request.param)
