"""A node with three models, two of which fit into its budget at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from deploy import demo
from tests.node.agent import Agent, agent

THREE = ("red", "green", "blue")
_SETTINGS: dict[str, Any] = {"load": "demand", "context": 1024, "parallel": 2, "threads": 1, "idle_s": 600.0}


@contextlib.asynccontextmanager
async def budgeted(folder: Path, **changed: Any) -> AsyncIterator[tuple[Agent, int]]:
    """The node, and its budget in bytes: two and a half times what one of the three is expected to take."""
    models = {name: {**_SETTINGS, "uri": str(_link(folder, name))} for name in THREE}
    (folder / "first").mkdir()
    async with agent(folder / "first", {"red": models["red"]}) as first:
        need = (await told(first))["models"]["red"]["memory"]["needed"]["ram_bytes"]
    ram_mib = int(need * 2.5) // 2**20
    async with agent(folder, models, **{"ram_mib": ram_mib, "hold_s": 2.0, **changed}) as running:
        yield running, ram_mib * 2**20


def _link(folder: Path, name: str) -> Path:
    """Another file for each model, so that each is mapped for itself; without copying."""
    path = folder / f"{name}.gguf"
    os.symlink(str(demo.CHAT.options()["uri"]), path)
    return path


async def told(node: Agent) -> dict[str, Any]:
    """What `GET /health` says."""
    async with aiohttp.ClientSession() as session, session.get(f"{node.url}/health") as response:
        found: dict[str, Any] = await response.json()
        return found


async def switches(node: Agent) -> dict[str, int]:
    """How often each model was loaded."""
    return {name: model["loads"] for name, model in (await told(node))["models"].items()}
