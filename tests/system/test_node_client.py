"""The official OpenAI client for Node, by `import` and by `require`, as programs of their own."""

from __future__ import annotations

import asyncio

import pytest

from tests.programs import ROOT
from tests.stack import MODEL, Stack

pytestmark = pytest.mark.engine
CLIENTS = ROOT / "tests" / "clients"


@pytest.mark.parametrize(("program", "said"), [("chat.mjs", "ok by import"), ("chat.cjs", "ok by require")])
async def test_the_node_client(stack: Stack, program: str, said: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("node", program, stack.base_url, MODEL),
        cwd=CLIENTS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, out.decode()
    assert said in out.decode()
