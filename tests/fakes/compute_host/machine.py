"""A machine: a real sshd on a port of 127.0.0.1, whose one command is login.py, and a real node once it is set up.

Its folder is its root: `etc/waypost` and `var/lib/waypost` as in the image; `bin`, `authorized_keys` and `journal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shlex
import subprocess
import sys
from pathlib import Path

from tests.programs import ROOT, free_port

_SSHD = "/usr/sbin/sshd"


class Machine:
    """Owns sshd and the node, which its own systemctl starts and ends; both end with `stop`."""

    def __init__(self, folder: Path, item_hash: str, keys: list[str], llama_server: Path) -> None:
        self.ssh_port = free_port()
        self._folder = folder
        self._keys = keys
        self._door = f"/tmp/waypost-vm-{os.getpid()}-{item_hash[:12]}"
        self._https_port = free_port()
        self._settings = {
            "WAYPOST_LISTEN": f"127.0.0.1:{self._https_port}",
            "WAYPOST_STATE": str(folder / "var/lib/waypost"),
            "WAYPOST_TLS_KEY": str(folder / "var/lib/waypost/tls.key"),
            "WAYPOST_PUBLIC_URL": f"https://localhost:{self._https_port}",  # on Aleph both follow from the host name
            "WAYPOST_VM_HASH": item_hash,
            "WAYPOST_LLAMA_SERVER": str(llama_server),
        }
        self._sshd: asyncio.subprocess.Process | None = None
        self._node: asyncio.subprocess.Process | None = None
        self._systemd: asyncio.Server | None = None

    async def start(self) -> None:
        await asyncio.to_thread(self._write)
        self._systemd = await asyncio.start_unix_server(self._asked, self._door)
        self._sshd = await self._run("sshd", {}, _SSHD, "-D", "-e", "-f", str(self._folder / "sshd_config"))

    async def stop(self) -> None:
        if self._systemd is not None:
            self._systemd.close()
            os.unlink(self._door)
        for process in (self._sshd, self._node):
            await _end(process)

    def _write(self) -> None:
        for part in ("etc/waypost", "var/lib/waypost", "bin"):
            (self._folder / part).mkdir(parents=True)
        settings = "".join(f"{name}={value}\n" for name, value in self._settings.items())
        (self._folder / "etc/waypost/environment").write_text(settings)
        (self._folder / "authorized_keys").write_text("\n".join(self._keys) + "\n")
        key = self._folder / "host_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        (self._folder / "sshd_config").write_text(self._sshd_config(key))
        systemctl = self._folder / "bin/systemctl"
        program = Path(__file__).with_name("systemctl.py")
        systemctl.write_text(f'#!/bin/sh\nexec {sys.executable} -I {program} {self._door} "$@"\n')
        systemctl.chmod(0o755)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question of systemctl: is-active, reload or restart."""
        verb = (await reader.readline()).decode().strip()
        if verb == "restart":
            await _end(self._node)
            config = str(self._folder / "etc/waypost/waypost.toml")
            words = (sys.executable, "-m", "waypost", "node", "serve", "--config", config)
            self._node = await self._run("journal", self._settings, *words)
        elif verb == "reload" and self._node is not None:
            self._node.send_signal(1)
        writer.write(b"active" if self._node is not None and self._node.returncode is None else b"inactive")
        await writer.drain()
        writer.close()

    async def _run(self, log: str, settings: dict[str, str], *words: str) -> asyncio.subprocess.Process:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
        with open(self._folder / log, "ab") as out:  # noqa: ASYNC230 - opened in no time
            return await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings},
                cwd=self._folder / "var/lib/waypost",
            )  # fmt: skip

    def _sshd_config(self, key: Path) -> str:
        login = shlex.join([sys.executable, str(Path(__file__).with_name("login.py")), str(self._folder), _me()])
        return f"""\
Port {self.ssh_port}
ListenAddress 127.0.0.1
HostKey {key}
PidFile none
AuthorizedKeysFile {self._folder / "authorized_keys"}
ForceCommand PYTHONPATH={shlex.quote(str(ROOT))} {login}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding no
AllowAgentForwarding no
"""


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is None or process.returncode is not None:
        return
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), 20)
        return
    process.kill()
    await process.wait()


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
