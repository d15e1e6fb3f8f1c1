"""The wheels that carry llama-server and sd-server: which one this machine needs, where it lies, how it is built.

A recipe is a folder beside this file: the release and its hash, the arguments for cmake, patches. pip's own cache does
not know with which arguments, patches and CPU a wheel was built, so built wheels are kept in
`~/.cache/waypost/wheels/<key>/`. With `WAYPOST_CUDA=1` llama-server is another one, for NVIDIA's GPUs (cuda). With
`WAYPOST_PORTABLE=1` it runs on any x86-64 processor, and picks the code for the one it finds: for what is built here
and run elsewhere, such as images. Nothing is installed here.
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
from dataclasses import dataclass
from pathlib import Path

import cuda
from progress import StepFailed, leave_on_signals, run_shown

SOURCES = {"llama": "llama.cpp", "sd": "stable-diffusion.cpp"}
JOB_MIB = 1536  # what one compiler takes at most
# One library for each generation of processors, of which llama-server loads the best that runs. GPU code then is a
# library of its own too, and left out where its driver is missing.
PORTABLE = ("-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON")


class WrongWish(Exception):
    """One line: which variable cannot be taken, and what to write."""


@dataclass(frozen=True)
class Recipe:
    """How one wheel is made; `name` is that of its folder."""

    name: str

    @property
    def source(self) -> str:
        return SOURCES[self.name]

    @property
    def requirements(self) -> Path:
        return self._folder / "requirements.txt"

    @property
    def pin(self) -> str:
        """`PACKAGE==VERSION --hash=...`"""
        return next(_lines(self.requirements))

    @property
    def cmake_args(self) -> str:
        """The recipe's, what CUDA and other processors take, the user's own (`CMAKE_ARGS=-DGGML_VULKAN=ON make up`)."""
        for_cuda = cuda.cmake_args() if self.with_cuda else []
        for_any = PORTABLE if self.portable else ()
        own = os.environ.get("CMAKE_ARGS", "")
        return " ".join([*_lines(self._folder / "cmake-args.txt"), *for_any, *for_cuda, own]).strip()

    @property
    def with_cuda(self) -> bool:
        return self.name == "llama" and cuda.wanted()

    @property
    def portable(self) -> bool:
        """Raises WrongWish for a value that could mean either."""
        word = os.environ.get("WAYPOST_PORTABLE", "")
        if word not in ("", "0", "1"):
            raise WrongWish(f"WAYPOST_PORTABLE is {word!r}; write 1 to build for any x86-64 processor, or unset it")
        return self.name == "llama" and word == "1"

    @property
    def patches(self) -> list[Path]:
        return sorted(self._folder.glob("*.patch"))

    @property
    def _folder(self) -> Path:
        return Path(__file__).resolve().parent / self.name


def ensure_wheel(recipe: Recipe) -> Path:
    """The wheel for this machine, built now if it is not there. Raises StepFailed when it cannot be built."""
    if found := find_wheel(recipe):
        return found
    folder = wheel_folder(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent / ".lock"):
        return find_wheel(recipe) or _build(recipe, folder)


def find_wheel(recipe: Recipe) -> Path | None:
    return next(wheel_folder(recipe).glob("*.whl"), None)


def wheel_folder(recipe: Recipe) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "waypost" / "wheels" / wheel_key(recipe)


def wheel_key(recipe: Recipe) -> str:
    """Names everything that decides what the compiler makes: 16 hex digits."""
    digest = hashlib.sha256()
    cpu = "any" if recipe.portable else _cpu_flags()
    for part in (recipe.pin, recipe.cmake_args, platform.machine(), "".join(platform.libc_ver()), cpu):
        digest.update(part.encode() + b"\0")
    if recipe.with_cuda:
        digest.update(cuda.release().encode() + b"\0")
    for patch in recipe.patches:
        digest.update(hashlib.sha256(patch.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _lines(file: Path) -> Iterator[str]:
    return (line for line in file.read_text().splitlines() if line and not line.startswith("#"))


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
            print("waypost: another set-up is building; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _build(recipe: Recipe, folder: Path) -> Path:
    """Build beside the folder and move in one step, so that half a build is never taken for a whole one."""
    for left_over in folder.parent.glob(".building-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        _make(recipe, work, log)
        (work / "wheel").rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return next(folder.glob("*.whl"))


def _make(recipe: Recipe, work: Path, log: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    name = recipe.pin.partition("==")[0]
    fetch = ["download", "--no-deps", "--no-binary", name, "--require-hashes", "-r", str(recipe.requirements)]
    run_shown(f"fetching {recipe.source}", [*pip, *fetch, "-d", str(work)], log)
    source = work / "source"
    source.mkdir()
    sdist = next(work.glob("*.tar.gz"))
    unpack = ["tar", "-xzf", str(sdist), "-C", str(source), "--strip-components=1"]
    run_shown(f"unpacking {recipe.source}", unpack, log)
    for patch in recipe.patches:
        run_shown(f"applying {patch.name}", ["patch", "-p1", "-d", str(source), "-i", str(patch)], log)
    wheel = ["wheel", "-v", "--no-deps", "--no-cache-dir", "-w", str(work / "wheel"), str(source)]
    own = {"CMAKE_ARGS": recipe.cmake_args, "TMPDIR": str(work), "CMAKE_BUILD_PARALLEL_LEVEL": str(_jobs())}
    own |= {"CUDACXX": str(cuda.compiler())} if recipe.with_cuda else {}
    run_shown(f"building {recipe.source} (some minutes, once)", [*pip, *wheel], log, env={**os.environ, **own})


def _jobs() -> int:
    """As many compilers at once as there are cores, and memory for them."""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return max(1, min(len(os.sched_getaffinity(0)), memory_mib // JOB_MIB))


def main() -> int:
    """`wheels.py key|find|build llama|sd`: prints the key, or the wheel's path."""
    parser = argparse.ArgumentParser(description="the wheels that carry llama-server and sd-server")
    parser.add_argument("command", choices=["key", "find", "build"])
    parser.add_argument("recipe", choices=sorted(SOURCES))
    options = parser.parse_args()
    recipe = Recipe(options.recipe)
    leave_on_signals()
    try:
        found = {"key": wheel_key, "find": find_wheel, "build": ensure_wheel}[options.command](recipe)
    except StepFailed:
        return 1
    except (cuda.CudaMissing, WrongWish) as error:
        print(f"waypost: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if found:
        print(found)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
