"""The system's `ssh`, as a machine that was just made is spoken to: no questions, its own list of known hosts.

The first key that the machine shows is taken and kept (`accept-new`); from then on only that one. Who stands between
at that first moment could be taken for the machine. Not here: what is said to it (aleph.machine).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from registry.answers import one_line

__all__ = ["Fault", "Ssh", "SshFailed", "private_half", "read_public_key"]

_OWN_FAILURE = 255
_SETTINGS = (
    "BatchMode=yes", "StrictHostKeyChecking=accept-new", "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no",
    "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "ControlMaster=no", "ControlPath=none",
    "PermitLocalCommand=no", "ServerAliveInterval=15", "ServerAliveCountMax=4", "LogLevel=ERROR", "ConnectTimeout=10",
)  # fmt: skip
_KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")


class Fault(Enum):
    """Why nothing could be said."""

    AWAY = "away"  # or not yet there
    REFUSED = "refused"  # our key is not let in, or not yet
    CHANGED = "changed"  # it shows another host key than at first
    MISSING = "missing"  # there is no such program, here or there
    SLOW = "slow"
    COMMAND = "command"  # it was run, and failed


class SshFailed(Exception):
    """`fault` says whose it is; the text is what ssh or the command wrote as errors, fit for a line; `out` the rest."""

    def __init__(self, fault: Fault, said: str, out: bytes = b"") -> None:
        super().__init__(one_line(said) or fault.value)
        self.fault = fault
        self.out = out


@dataclass(frozen=True)
class Ssh:
    """One machine. `alias` is what its key is kept under, whatever address it is reached by."""

    address: str
    port: int
    user: str
    identity: Path
    known_hosts: Path
    alias: str
    program: str = "ssh"

    def words(self, command: Sequence[str], *, terminal: bool = False) -> list[str]:
        """The whole command line; nothing on it is secret."""
        settings = [
            *_SETTINGS,
            f"UserKnownHostsFile={self.known_hosts}",
            f"HostKeyAlias={self.alias}",
            "IdentitiesOnly=yes",
        ]
        options = [word for setting in settings for word in ("-o", setting)]
        return [
            self.program, "-t" if terminal else "-T", *options, "-i", str(self.identity), "-p", str(self.port),
            "-l", self.user, "--", self.address, " ".join(command),
        ]  # fmt: skip

    async def run(self, command: Sequence[str], stdin: bytes = b"", *, limit_s: float = 120.0) -> bytes:
        """What the command prints. `command` is read by the shell there, so it is written here and by nobody else.

        Raises SshFailed.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self.words(command),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")},
            )  # fmt: skip
        except FileNotFoundError as error:
            raise SshFailed(Fault.MISSING, "there is no ssh on this machine; install openssh-client") from error
        try:
            async with asyncio.timeout(limit_s):
                out, err = await process.communicate(stdin)
        except TimeoutError as error:
            raise SshFailed(Fault.SLOW, f"no end of {command[0]} within {limit_s:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = err.decode("utf-8", "replace")
            raise SshFailed(_fault(process.returncode, said), _last_lines(said), out)
        return out


def read_public_key(path: Path) -> str:
    """The one line of a public key file, without its comment. ValueError says what is wrong and shows none of it."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: {getattr(error, 'strerror', None) or 'not a text'}; make one with ssh-keygen"
        ) from error
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if "PRIVATE KEY" in text or not lines or len(lines[0]) < 2 or not lines[0][0].startswith(_KINDS):
        raise ValueError(f"{path} is no public SSH key; name the file that ends in .pub")
    return " ".join(lines[0][:2])


def private_half(public: Path) -> Path:
    """What ssh is to log in with: the private key beside it, else the public one, for which it asks the agent."""
    beside = public.with_suffix("") if public.suffix == ".pub" else public
    return beside if beside != public and beside.exists() else public


def _fault(status: int, said: str) -> Fault:
    if status == 127:
        return Fault.MISSING
    if status != _OWN_FAILURE:
        return Fault.COMMAND
    if "IDENTIFICATION HAS CHANGED" in said or "Host key verification failed" in said:
        return Fault.CHANGED
    if "Permission denied" in said or "Too many authentication failures" in said:
        return Fault.REFUSED
    return Fault.AWAY


def _last_lines(said: str, most: int = 4) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and "@@@@" not in line]
    return "; ".join(lines[-most:])
