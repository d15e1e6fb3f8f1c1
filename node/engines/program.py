"""An engine's program on this machine: the named one, or the one that a Python package carries, tried once.

Not here: what a particular program is told and asked (llama, images).
"""

from __future__ import annotations

import asyncio
import os
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from node.engines.engine import EngineError
from node.engines.environment import for_engine

_INSPECT_S = 30.0


@dataclass(frozen=True)
class Carried:
    """`program` comes with the Python package `package`, and is of the project `engine`; `option` names another one."""

    program: str
    package: str
    engine: str
    option: str


@dataclass(frozen=True)
class Found:
    """A program that runs here. `printed` is what it wrote when it was tried."""

    path: Path
    version: str
    printed: bytes


async def find(carried: Carried, named: Path | None, word: str) -> Found:
    """Run it once with `word`, by which it says something and ends. Raises EngineError."""
    path = named or Path(sysconfig.get_path("platlib"), "bin", carried.program)
    if not os.access(path, os.X_OK) or not path.is_file():
        raise EngineError(f"there is no {carried.program} at {path}; build it with make, or give {carried.option} FILE")
    try:
        child = await asyncio.create_subprocess_exec(
            str(path), word, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=for_engine(os.environ),
        )  # fmt: skip
    except OSError as error:
        raise EngineError(f"{path} cannot be run ({error.strerror})") from error
    try:
        async with asyncio.timeout(_INSPECT_S):
            printed, _ = await child.communicate()
    except TimeoutError as error:
        raise EngineError(f"{path} {word} hangs; check the GPU's driver") from error
    finally:
        with suppress(ProcessLookupError):
            child.kill()
    if child.returncode != 0:
        raise EngineError(f"{path} fails on this machine ({_why(child.returncode or 0, printed)})")
    return Found(path.absolute(), _version(carried, own=named is None), printed)


def _why(code: int, printed: bytes) -> str:
    if code == -4:
        return "SIGILL: it was built for another CPU; build it here, or with GGML_NATIVE=OFF"
    lines = printed.decode(errors="replace").strip().splitlines()
    return f"status {code}: {lines[-1][:200]}" if lines else f"status {code}"


def _version(carried: Carried, own: bool) -> str:
    with suppress(PackageNotFoundError):
        if own:
            return f"{carried.engine}/{version(carried.package)}"
    return carried.engine
