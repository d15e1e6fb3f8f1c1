"""An operator with keys and credits, a network with two compute hosts, and `waypost deploy aleph` as a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from registry.keys import Wallet
from tests.commands import Ended
from tests.fakes.aleph import AlephNode, aleph_node
from tests.fakes.hosts import Hosts, compute_hosts
from tests.node.conftest import write_gguf
from tests.programs import ROOT

CREDITS = 100_000_000
FAKE_LLAMA = ROOT / "tests" / "node" / "fake_llama.py"
needs_ssh = pytest.mark.skipif(
    not all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("ssh", "ssh-keygen", "sshd")),
    reason="takes ssh and sshd: scripts/network_tools.sh installs them",
)


@dataclass
class Scene:
    """Everything that a deployment needs, in one folder."""

    folder: Path
    operator: Wallet
    aleph: AlephNode
    hosts: Hosts
    session: aiohttp.ClientSession

    @property
    def state(self) -> Path:
        return self.folder / "deployments"

    def record(self, name: str = "gpu1") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / name / "deployment.json").read_text())
        return found

    def words(self, verb: str, *more: str, name: str = "gpu1") -> list[str]:
        """A whole command; `up`, which is `waypost deploy aleph`, with all that it needs."""
        given = ["-m", "waypost", "deploy", "aleph" if verb == "up" else verb]
        if verb != "offers":
            given += [name, "--state-dir", str(self.state)]
        if verb in ("up", "offers"):
            given += ["--gpu", "RTX 4090"]
        if verb == "up":
            given += ["--operator-key", str(self.folder / "operator.key"), "--ssh-key", str(self.folder / "id.pub")]
            given += ["--model", f"tiny={self.folder / 'tiny.gguf'}", "--access", "open", "--allow-private"]
            given += ["--reach", "ipv4", "--ssh-user", _me(), "--settle-s", "20", "--boot-s", "20", "--ssh-s", "40"]
        if verb == "destroy":
            given += ["--operator-key", str(self.folder / "operator.key"), "--yes"]
        if verb == "status":
            given += ["--allow-private"]
        if verb == "logs":
            given += ["--reach", "ipv4", "--ssh-user", _me()]
        return [*given, "--api", self.aleph.url, "--hosts", self.hosts.url, *more]

    async def run(self, verb: str, *more: str, name: str = "gpu1", image: bool = True) -> Ended:
        """Run a command to its end; `up` with --yes and the image file unless told otherwise."""
        process = await self.start(verb, *(self._usual(verb, more) if image else more), name=name)
        out, err = await asyncio.wait_for(process.communicate(), 240)
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def start(self, verb: str, *more: str, name: str = "gpu1") -> asyncio.subprocess.Process:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("WAYPOST_", "SSH_"))}
        return await asyncio.create_subprocess_exec(
            sys.executable, *self.words(verb, *more, name=name), cwd=self.folder, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**inherited, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder / "xdg")},
        )  # fmt: skip

    async def killed(self, met: Any, verb: str = "up", *more: str) -> None:
        """Run a command until the fault is met, and kill it there."""
        process = await self.start(verb, *self._usual(verb, more))
        reading = asyncio.create_task(process.communicate())
        while not await met():
            assert process.returncode is None, (await reading)[1].decode()
            await asyncio.sleep(0.05)
        process.kill()
        await reading

    def _usual(self, verb: str, more: tuple[str, ...]) -> tuple[str, ...]:
        if verb != "up":
            return more
        image = () if "--image" in more else ("--image", str(self.folder / "image.raw"))
        return (*image, *(() if "--no-yes" in more else ("--yes",)), *more)

    async def fault(self, place: str, at: str, when: str, act: str, times: int = 1) -> None:
        """Have a request to the node, the hosts or the machine fail, until `clear`."""
        if place == "machine":
            self.hosts.fault(at, when, act)
            return
        fault = {"at": at, "when": when, "act": act, "times": times}
        async with self.session.post(f"{self._origin(place)}/_faults", json=fault) as response:
            assert response.status == 200

    async def met(self, place: str) -> bool:
        if place == "machine":
            return (self.hosts.machine() / "met").exists()
        async with self.session.get(f"{self._origin(place)}/_faults") as response:
            return any(await response.json())

    async def clear(self, place: str) -> None:
        if place == "machine":
            (self.hosts.machine() / "met").unlink(missing_ok=True)
            return
        async with self.session.delete(f"{self._origin(place)}/_faults") as response:
            assert response.status == 200

    async def charged(self) -> dict[str, int]:
        """How often the network took money, by kind of message."""
        counts = await self.aleph.counts()
        return {key.partition(" ")[0]: count for key, count in counts["charged"].items()}

    def _origin(self, place: str) -> str:
        """Hosts and their list are one program, with one side door."""
        return self.aleph.url if place == "aleph" else self.hosts.origin


@contextlib.asynccontextmanager
async def deployer(folder: Path, hosts: int = 2) -> AsyncIterator[Scene]:
    """The scene; its machines end with it."""
    operator = Wallet.new()
    operator.save(folder / "operator.key")
    new_ssh_key(folder / "id")
    write_gguf(folder / "tiny.gguf")
    (folder / "image.raw").write_bytes(b"a disk" * 1000)
    llama = folder / "llama-server"
    llama.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_LLAMA} "$@"\n')
    llama.chmod(0o755)
    async with (
        aleph_node(folder) as aleph,
        compute_hosts(folder, aleph.url, llama, hosts) as found,
        aiohttp.ClientSession() as session,
    ):
        await aleph.control(credits={operator.address: CREDITS})
        yield Scene(folder, operator, aleph, found, session)


def new_ssh_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@home", "-f", path], check=True)


def _me() -> str:
    """Whom sshd lets in: root, as on a real machine, or whoever runs the tests."""
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name
