"""Fixtures of admission's tests. Not here: what a house is (house)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.admission.house import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    made.admission.close()
    assert (made.admission.in_flight, made.admission.waiting, made.balance.in_flight) == (0, 0, 0), "whatever befell"
