"""The official OpenAI client for Node, by `import` and by `require`, as programs of their own: chat, images, audio."""

from __future__ import annotations

import asyncio

import pytest

from tests.programs import ROOT
from tests.stack import IMAGE_MODEL, MODEL, SPEECH_MODEL, TRANSCRIPTION_MODEL, Stack

pytestmark = pytest.mark.engine
CLIENTS = ROOT / "tests" / "clients"


@pytest.mark.parametrize(("program", "said"), [("chat.mjs", "ok by import"), ("chat.cjs", "ok by require")])
async def test_the_node_client(stack: Stack, program: str, said: str) -> None:
    assert said in await _run(program, stack.base_url, MODEL)


async def test_the_node_client_and_pictures(full_stack: Stack) -> None:
    assert "ok: images" in await _run("images.mjs", full_stack.base_url, IMAGE_MODEL)


async def test_the_node_client_and_sound(full_stack: Stack) -> None:
    assert "ok: audio" in await _run("audio.mjs", full_stack.base_url, SPEECH_MODEL, TRANSCRIPTION_MODEL)


async def _run(program: str, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("node", program, *words),
        cwd=CLIENTS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, out.decode()
    return out.decode()
