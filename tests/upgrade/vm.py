"""A node's VM, as far as the commands of its upgrade see it: a root with releases, a unit that is kept up, an agent."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import pwd
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pip

from tests.programs import ROOT, free_port, until

COMMANDS = ROOT / "deploy/vm/upgrade"
_HERE = Path(__file__).parent
_SCRIPT = "#!{python}\nimport sys\nfrom waypost import main\nsys.exit(main())\n"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


@dataclass
class Vm:
    """`root` is its file system, `port` where its agent listens on this machine."""

    root: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
        mine = {
            "UPGRADE_ROOT": str(self.root), "UPGRADE_USER": pwd.getpwuid(os.geteuid()).pw_name,
            "UPGRADE_PYTHON": sys.executable, "UPGRADE_LIB": str(ROOT),
            "PATH": f"{self.root / 'programs'}:{os.environ['PATH']}", "TMPDIR": str(self.root / "tmp"),
        }  # fmt: skip
        return {**clean, **mine}

    @property
    def current(self) -> str:
        return os.readlink(self.root / "opt/waypost").rpartition("/")[2]

    @property
    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.root / "opt/waypost-releases").iterdir() if path.is_dir())

    @property
    def asked(self) -> list[str]:
        """What systemd was told to do."""
        log = self.root / "systemctl.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.split()[0] for line in lines if not line.startswith("is-active")]

    def start(self, command: str, *words: str) -> subprocess.Popen[bytes]:
        """A command of the VM, which goes on by itself."""
        with (self.root / "command.txt").open("wb") as out:
            return subprocess.Popen([COMMANDS / command, *words], env=self.environment, stdout=out, stderr=out)

    async def run(self, command: str, *words: str, stdin: bytes | None = None) -> Ended:
        """The same, to its end."""
        process = await asyncio.create_subprocess_exec(
            COMMANDS / command, *words, env=self.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(stdin)
        return Ended(process.returncode or 0, out.decode("latin-1"), err.decode())

    async def upgrade(self, *words: str | Path) -> Ended:
        return await self.run("waypost-upgrade", *map(str, words))

    async def get(self, path: str) -> Any:
        """What the agent answers."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=120) as answer:
            return json.load(answer)

    async def serves(self) -> str:
        """The version that answers, once one does."""
        found: list[str] = []

        def answers() -> bool:
            with contextlib.suppress(OSError):
                found.append(self._get("/health")["version"])
            return bool(found)

        await until(answers)
        return found[0]


@contextlib.asynccontextmanager
async def vm(folder: Path, *, started: bool = True) -> AsyncIterator[Vm]:
    """One whose image came with release 1.0, which serves."""
    made = Vm(folder / "root", free_port())
    for name in ("opt/waypost-releases", "etc/waypost", "var/lib/waypost", "programs", "tmp"):
        (made.root / name).mkdir(parents=True)
    (made.root / "var/lib/waypost").chmod(0o700)
    (made.root / "etc/waypost/environment").write_text("AGENT_OF=image\n")
    program = made.root / "programs/systemctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {_HERE / "systemctl.py"} "$@"\n')
    program.chmod(0o755)
    _image_release(made.root, folder)
    (made.root / "opt/waypost").symlink_to("waypost-releases/1.0")
    if started:
        (made.root / "etc/waypost/waypost.toml").write_text(f'[node]\nlisten = "127.0.0.1:{made.port}"\n')
        systemctl(made, "start")
    try:
        yield made
    finally:
        systemctl(made, "stop")


def systemctl(made: Vm, verb: str) -> None:
    subprocess.run(["systemctl", verb, "waypost.service"], env=made.environment, check=True)


def _image_release(root: Path, folder: Path) -> None:
    home = root / "opt/waypost-releases/1.0"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = home.glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel(folder, "1.0")) as packed:
        packed.extractall(site)
    around = Path(pip.__file__).parent
    for each in (around, *around.parent.glob("pip-*.dist-info")):  # as the image has it
        (site / each.name).symlink_to(each)
    (site / "engine.py").touch()  # pip moves a folder whole where all files in it go, and takes no link for a file
    script = home / "bin/waypost"
    script.write_text(_SCRIPT.format(python=home / "bin/python"))
    script.chmod(0o755)


def wheel(folder: Path, version: str, manner: str = "well", requires: Sequence[str] = ()) -> Path:
    """A release of that version and manner, as pip installs one."""
    agent = (_HERE / "agent_of_release.py").read_text()
    said = f"VERSION, MANNER = {version!r}, {manner!r}\n"
    return packed(folder, "waypost", version, {"waypost.py": agent, "waypost_release.py": said}, requires)


def packed(folder: Path, name: str, version: str, files: dict[str, str], requires: Sequence[str] = ()) -> Path:
    """Any wheel of Python files; one with `main` in its module has a program of its name."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *map("Requires-Dist: {}".format, requires)]
    metadata += [f"Provides-Extra: {extra}" for extra in ("node", "aleph", "evm")]
    whole = {
        **files,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if "def main" in files.get(f"{name}.py", ""):
        whole[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:main\n"
    lines = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in whole.items()]
    whole[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]) + "\n"
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in whole.items():
            archive.writestr(path, text)
    return made


def tar_of(file: Path, *wheels: Path) -> Path:
    with tarfile.open(file, "w") as tar:
        for each in wheels:
            tar.add(each, arcname=f"wheels/{each.name}")
    return file


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
