"""Stacks of their own for the tests that need other rules than the shared one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.stack import Stack, new_stack, node, serve_gateway


@pytest.fixture(scope="session")
async def keyless_stack(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Gateway and node both open to anybody, so that both hops can be asked alike."""
    made = await new_stack(tmp_path_factory.mktemp("keyless"))
    async with AsyncExitStack() as exits:
        made.nodes.append(await exits.enter_async_context(node(made, weights, access=("open",), embedding=True)))
        await exits.enter_async_context(serve_gateway(made, ("--open",), proven=1))
        yield made
