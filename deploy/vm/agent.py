"""The agent in the tree: its wheels, fetched here, installed there by Debian's Python into an environment of its own.

Not here: how the wheel that carries llama-server is built (the checkout's scripts).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deploy.vm.chroot import Chroot
from deploy.vm.steps import StepFailed, run

RELEASES, CURRENT = "opt/waypost-releases", "opt/waypost"
EXTRAS = "node,aleph,evm"
PYTHON = (3, 11)  # Debian 12's
_CHECKOUT = Path(__file__).parent.parent.parent
_WHEELS_SCRIPT = _CHECKOUT / "scripts" / "wheels.py"
_KEPT_PROGRAMS = re.compile(r"llama-server|ggml-rpc-server|rpc-server|lib.*")
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@dataclass(frozen=True)
class Wheels:
    """The two wheels that others are fetched for."""

    agent: Path
    llama: Path

    @property
    def version(self) -> str:
        return self.agent.name.split("-")[1]

    @property
    def llama_requirement(self) -> str:
        return f"llama-cpp-python @ {self.llama.resolve().as_uri()}"

    @property
    def key(self) -> str:
        """Names what the agent asks for, so that one cache serves many builds of the agent."""
        digest = hashlib.sha256(self.llama.read_bytes())
        digest.update(_requirements(self.agent).encode())
        return digest.hexdigest()[:16]


def own_wheels(agent: Path | None, llama: Path | None, work: Path, log: Path) -> Wheels:
    """As named, else built from the checkout that this runs from. Raises StepFailed."""
    for named in (agent, llama):
        if named is not None and not named.is_file():
            raise StepFailed(f"{named} is no file; name a wheel")
    if (agent is None or llama is None) and not _WHEELS_SCRIPT.is_file():
        raise StepFailed("this waypost runs from no checkout; give --agent WHEEL and --llama WHEEL")
    return Wheels(agent or _built_agent(work, log), llama or _portable_llama(log))


def fetch(wheels: Wheels, cache: Path, log: Path) -> Path:
    """The folder with every wheel that the agent takes, fetched or built once. Raises StepFailed."""
    if sys.version_info[:2] != PYTHON:
        raise StepFailed(f"run this with Python {PYTHON[0]}.{PYTHON[1]}: the image has that, and wheels must fit it")
    folder = cache / "wheels" / wheels.key
    if not folder.exists():
        fresh = folder.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        wanted = (f"waypost[{EXTRAS}] @ {wheels.agent.resolve().as_uri()}", wheels.llama_requirement)
        run(*_PIP, "wheel", "-w", str(fresh), *wanted, log=log)
        for own in fresh.glob("waypost-*.whl"):
            own.unlink()
        fresh.rename(folder)
    return folder


def install(tree: Chroot, wheels: Wheels, folder: Path) -> None:
    """An environment in RELEASES/VERSION, and CURRENT a link to it."""
    home = f"/{RELEASES}/{wheels.version}"
    own = folder.parent / f"{folder.name}-agent"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    shutil.copy(wheels.agent, own)
    tree.run("python3", "-m", "venv", home)
    pip = (f"{home}/bin/python", "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "install", "--no-index")
    finding = ("--find-links", "/mnt/wheels", "--find-links", "/mnt/agent", "--no-compile")
    tree.run(*pip, *finding, f"waypost[{EXTRAS}]=={wheels.version}", binds={folder: "/mnt/wheels", own: "/mnt/agent"})
    shutil.rmtree(own)
    for bound in ("mnt/wheels", "mnt/agent"):
        (tree.root / bound).rmdir()
    _leave_out_tools(tree.root / home.lstrip("/"))
    (tree.root / CURRENT).symlink_to(f"{Path(RELEASES).name}/{wheels.version}")
    (tree.root / "usr/local/bin/waypost").symlink_to(f"/{CURRENT}/bin/waypost")


def _leave_out_tools(home: Path) -> None:
    """llama.cpp's further programs: nothing here runs them."""
    (programs,) = home.glob("lib/python*/site-packages/bin")
    for file in programs.iterdir():
        if not _KEPT_PROGRAMS.fullmatch(file.name):
            file.unlink()
    _keep_once(programs.parent)


def _keep_once(site: Path) -> None:
    """A wheel knows no links, so each of llama.cpp's libraries is in it under three names, in two folders."""
    first: dict[bytes, Path] = {}
    for file in sorted((*site.glob("lib/*.so*"), *site.glob("llama_cpp/lib/*.so*"))):
        known = first.setdefault(hashlib.sha256(file.read_bytes()).digest(), file)
        if known != file:
            file.unlink()
            file.symlink_to(os.path.relpath(known, file.parent))


def _requirements(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as packed:
        name = next(name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        lines = packed.read(name).decode().splitlines()
    return "\n".join(line for line in lines if line.startswith("Requires-Dist: "))


def _built_agent(work: Path, log: Path) -> Path:
    run(*_PIP, "wheel", "--no-deps", "-w", str(work), str(_CHECKOUT), log=log)
    return next(work.glob("waypost-*.whl"))


def _portable_llama(log: Path) -> Path:
    env = {**os.environ, "WAYPOST_PORTABLE": "1"}
    run(sys.executable, str(_WHEELS_SCRIPT), "build", "llama", log=log, env=env)
    return Path(log.read_text().splitlines()[-1])
