"""A node agent as its users start it, for tests of the node alone."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.programs import Program, running

_TAKEN = ("admitted", "in_flight", "waiting")
_SERVES = re.compile(r"waypost node (\S+) serves (.*) on (http://\S+)/v1")


@dataclass
class Agent:
    """A node that serves. `key` is its node key, `url` without a path."""

    program: Program
    key: str
    url: str

    def engines(self) -> list[int]:
        """The llama-servers that are its children."""
        children = Path(f"/proc/{self.program.pid}/task/{self.program.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


def options(folder: Path, models: Mapping[str, Mapping[str, Any]], **changed: Any) -> list[str]:
    """The command's words, with a configuration file of its own in `folder`."""
    table = {"listen": "127.0.0.1:0", "state": str(folder / "state"), "log_level": "debug", **changed}
    lines = ["[node]", *_lines(table)]
    for name, settings in models.items():
        lines += [f"[node.models.{orjson.dumps(name).decode()}]", *_lines(settings)]
    file = folder / "waypost.toml"
    file.write_text("\n".join(lines) + "\n")
    return ["-m", "waypost", "node", "serve", "--config", str(file)]


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {orjson.dumps(value).decode()}" for key, value in table.items()]


@contextlib.asynccontextmanager
async def agent(folder: Path, models: Mapping[str, Mapping[str, Any]], **changed: Any) -> AsyncIterator[Agent]:
    """A node that has said that it serves."""
    async with running(options(folder, models, **changed), folder / "log.txt") as program:
        said = _SERVES.search(await program.saw(" serves "))
        assert said is not None
        made = Agent(program, said[1], said[3])
        yield made
        await _all_given_back(made)


async def figures(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """What `GET /metrics` says: by name without its prefix, with its labels."""
    async with session.get(f"{url}/metrics") as response:
        lines = (await response.text()).splitlines()
    rows = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("waypost_node_"): float(value) for name, _, value in rows}


async def _all_given_back(node: Agent) -> None:
    """Whoever has called it has left, or is about to: no slot, no place in a queue, nothing else stays taken."""
    taken: dict[str, float] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        for _ in range(200):
            try:
                found = await figures(session, node.url)
            except (TimeoutError, aiohttp.ClientError):
                break  # it is stopping, or was killed, by the test
            taken = {name: value for name, value in found.items() if value and name.startswith(_TAKEN)}
            if not taken:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"not given back: {taken}")
    assert "OVERFULL" not in node.program.output(), "more was asked of an engine at once than it has slots"


async def chat(session: aiohttp.ClientSession, url: str, model: str, content: str, **more: Any) -> tuple[int, Any]:
    """One chat completion; returns (status, body)."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 16, **more}
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        return response.status, await response.json()


def alive(pid: int) -> bool:
    """Whether that process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
