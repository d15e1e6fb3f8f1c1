"""Three models where memory holds two, and six clients who ask for any of them: `make soak`, five minutes of it.

WAYPOST_SOAK_S sets another time, in seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soak.budget_scene import THREE, budgeted, switches
from tests.soak.crowd import crowd

SOAK_S = float(os.environ.get("WAYPOST_SOAK_S", "300"))


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 300)
async def test_three_models_where_two_fit_for_minutes(tmp_path: Path, tell: Callable[[str], None]) -> None:
    async with budgeted(tmp_path) as (agent, budget_bytes):
        end = time.monotonic() + SOAK_S
        outcome = await crowd(agent, THREE, 6, lambda _: time.monotonic() < end)
        loads = await switches(agent)
    tell(f"{SOAK_S:.0f} s: {outcome}; budget {budget_bytes / 2**20:.0f} MiB; loads {loads}")
    assert not outcome.faults
    assert set(outcome.answered) == set(THREE)
    assert sum(loads.values()) > len(THREE)
    assert outcome.most_bytes <= budget_bytes
