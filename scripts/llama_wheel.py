"""The wheel that carries llama-server: which one this machine needs, where it lies, and how it is built.

pip's own cache does not know with which arguments, patches and CPU a wheel was built, so built wheels are kept in
`~/.cache/waypost/wheels/<key>/`. Nothing is installed here.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from progress import StepFailed, leave_on_signals, run_shown

RECIPE = Path(__file__).resolve().parent / "llama"
CMAKE_ARGS = (
    "-DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON -DLLAMA_TOOLS_INSTALL=ON -DLLAVA_BUILD=OFF "
    "-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON"
)
JOB_MIB = 1536  # what one compiler takes at most


def ensure_wheel() -> Path:
    """The wheel for this machine, built now if it is not there. Raises StepFailed when it cannot be built."""
    folder = wheel_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent / ".lock"):
        return find_wheel() or _build(folder)


def find_wheel() -> Path | None:
    return next(wheel_folder().glob("*.whl"), None)


def wheel_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "waypost" / "wheels" / wheel_key()


def wheel_key() -> str:
    """Names everything that decides what the compiler makes: 16 hex digits."""
    digest = hashlib.sha256()
    for part in (_pin(), _cmake_args(), platform.machine(), "".join(platform.libc_ver()), _cpu_flags()):
        digest.update(part.encode() + b"\0")
    for patch in _patches():
        digest.update(hashlib.sha256(patch.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _pin() -> str:
    """`llama-cpp-python==VERSION --hash=...` as it stands in the recipe."""
    lines = (RECIPE / "requirements.txt").read_text().splitlines()
    return next(line for line in lines if line and not line.startswith("#"))


def _cmake_args() -> str:
    return f"{CMAKE_ARGS} {os.environ.get('CMAKE_ARGS', '')}".strip()


def _patches() -> list[Path]:
    return sorted(RECIPE.glob("*.patch"))


def _cpu_flags() -> str:
    try:
        found = re.search(r"^(?:flags|Features)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return " ".join(sorted(found[1].split())) if found else ""


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two set-ups at once build once: the second waits, then finds the wheel of the first."""
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waypost: another set-up is building llama.cpp; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _build(folder: Path) -> Path:
    """Build beside the folder and move in one step, so that half a build is never taken for a whole one."""
    for left_over in folder.parent.glob(".building-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        _make(work, log)
        (work / "wheel").rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return next(folder.glob("*.whl"))


def _make(work: Path, log: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    name = _pin().partition("==")[0]
    fetch = ["download", "--no-deps", "--no-binary", name, "--require-hashes", "-r", str(RECIPE / "requirements.txt")]
    run_shown("fetching llama.cpp", [*pip, *fetch, "-d", str(work)], log)
    source = work / "source"
    source.mkdir()
    sdist = next(work.glob("*.tar.gz"))
    run_shown("unpacking llama.cpp", ["tar", "-xzf", str(sdist), "-C", str(source), "--strip-components=1"], log)
    for patch in _patches():
        run_shown(f"applying {patch.name}", ["patch", "-p1", "-d", str(source), "-i", str(patch)], log)
    wheel = ["wheel", "-v", "--no-deps", "--no-cache-dir", "-w", str(work / "wheel"), str(source)]
    env = {**os.environ, "CMAKE_ARGS": _cmake_args(), "TMPDIR": str(work), "CMAKE_BUILD_PARALLEL_LEVEL": str(_jobs())}
    run_shown("building llama.cpp (some minutes, once)", [*pip, *wheel], log, env=env)


def _jobs() -> int:
    """As many compilers at once as there are cores, and memory for them."""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return max(1, min(len(os.sched_getaffinity(0)), memory_mib // JOB_MIB))


def main() -> int:
    """`llama_wheel.py key|find|build`: prints the key, or the wheel's path."""
    parser = argparse.ArgumentParser(description="the wheel that carries llama-server")
    parser.add_argument("command", choices=["key", "find", "build"])
    command = parser.parse_args().command
    leave_on_signals()
    try:
        found = wheel_key() if command == "key" else find_wheel() if command == "find" else ensure_wheel()
    except StepFailed:
        return 1
    except KeyboardInterrupt:
        return 130
    if found:
        print(found)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
