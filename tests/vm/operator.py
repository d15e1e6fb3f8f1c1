"""The operator of a machine: an SSH key, a wallet key on this machine, and what both are used for."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.vm.parcel import CONFIG, DELEGATION, write_parcel
from tests.programs import waypost


@dataclass(frozen=True)
class Operator:
    """Its keys are in `folder`; `ssh_port` is the machine's, on 127.0.0.1."""

    folder: Path
    ssh_port: int = 0

    @property
    def public_ssh_key(self) -> str:
        return (self.folder / "id.pub").read_text().strip()

    async def make_keys(self) -> str:
        """Returns the wallet's address."""
        words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", str(self.folder / "id"))
        assert await (await asyncio.create_subprocess_exec(*words)).wait() == 0
        made = await waypost("key", "new", "operator.key", cwd=self.folder)
        return next(word for word in made.split() if word.startswith("0x"))

    async def ssh(self, *words: str, stdin: bytes = b"", check: bool = True) -> str:
        """A command on the machine as root; its standard output."""
        options = (
            "BatchMode=yes", "StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={self.folder}/known_hosts",
            f"IdentityFile={self.folder}/id", "IdentitiesOnly=yes", "ConnectTimeout=20", "LogLevel=ERROR",
        )  # fmt: skip
        settings = [word for option in options for word in ("-o", option)]
        process = await asyncio.create_subprocess_exec(
            "ssh", *settings, "-p", str(self.ssh_port), "root@127.0.0.1", *words,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(stdin)
        if check and process.returncode:
            raise AssertionError(f"ssh {' '.join(words)}: {process.returncode}\n{out.decode()}{err.decode()}")
        return out.decode()

    async def reaches(self) -> bool:
        return await self.ssh("echo", "here", check=False) == "here\n"

    async def keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = json.loads(await self.ssh("waypost-setup", "keys"))
        return keys

    async def delegate(self, keys: dict[str, Any], registry: str) -> None:
        words = ("registry", "delegate", str(keys["delegate"]), "--operator-key", "operator.key")
        node = f"--node={keys['node']}"
        await waypost(*words, node, "--registry", registry, "--out", DELEGATION, cwd=self.folder)

    async def set_up(self, config: str) -> dict[str, Any]:
        """Sends the configuration and the delegation; what the machine says."""
        parcel = write_parcel({CONFIG: config.encode(), DELEGATION: (self.folder / DELEGATION).read_bytes()})
        said: dict[str, Any] = json.loads(await self.ssh("waypost-setup", stdin=parcel))
        return said
