"""The fake compute hosts for the tests, as the program that they are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.programs import Program, running, until


class Hosts:
    """Where the list is, the side door, and the machines' folder."""

    def __init__(self, url: str, machines: Path, program: Program, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.origin = url.removesuffix("/crns.json")
        self.machines = machines
        self.program = program
        self._session = session

    async def control(self, **state: list[str]) -> dict[str, dict[str, int]]:
        """Change what hosts do, by their hashes; returns what each has done."""
        async with self._session.post(f"{self.origin}/_control", json=state) as response:
            counts: dict[str, dict[str, int]] = await response.json()
            return counts

    async def counts(self, name: str) -> int:
        """How often all hosts have done this."""
        return sum(counts.get(name, 0) for counts in (await self.control()).values())

    async def listed(self) -> list[dict[str, Any]]:
        async with self._session.get(self.url, params={"filter_inactive": "true"}) as response:
            found: list[dict[str, Any]] = (await response.json())["crns"]
            return found

    def machine(self) -> Path:
        """The folder of the only machine."""
        (folder,) = [path for path in self.machines.iterdir() if path.is_dir()]
        return folder

    def fault(self, at: str, when: str, act: str) -> None:
        """Have the only machine's next waypost-setup fail (compute_host/setup.py)."""
        (self.machine() / "met").unlink(missing_ok=True)
        (self.machine() / "fault").write_text(json.dumps({"at": at, "when": when, "act": act}))


@contextlib.asynccontextmanager
async def compute_hosts(folder: Path, api: str, llama_server: Path, hosts: int = 2) -> AsyncIterator[Hosts]:
    """Fake hosts that know the messages of the node at `api`."""
    machines = folder / "machines"
    machines.mkdir()
    words = ["-m", "tests.fakes.compute_host", "--api", api, "--machines", str(machines), "--hosts", str(hosts)]
    log = folder / "hosts.log"
    async with (
        running([*words, "--llama-server", str(llama_server)], log) as program,
        aiohttp.ClientSession() as session,
    ):
        await until(lambda: "/crns.json" in program.output() or program.process.returncode is not None, program.output)
        assert program.process.returncode is None, program.output()
        url = next(line for line in program.output().splitlines() if line.endswith("/crns.json"))
        yield Hosts(url, machines, program, session)
