"""What compiling llama.cpp for NVIDIA's GPUs takes: whether it is wanted, by which compiler, for which GPUs.

`WAYPOST_CUDA=1` wants it. Nothing is compiled here (wheels).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

USUAL = Path("/usr/local/cuda/bin/nvcc")  # where NVIDIA's own packages put it, which is on nobody's PATH
ARCHITECTURES = "CMAKE_CUDA_ARCHITECTURES"
WAIT_S = 30  # a broken driver makes nvidia-smi hang


class CudaMissing(Exception):
    """One line: what is missing, and what to do."""


def wanted() -> bool:
    """Raises CudaMissing for a value that could mean either."""
    word = os.environ.get("WAYPOST_CUDA", "")
    if word not in ("", "0", "1"):
        raise CudaMissing(f"WAYPOST_CUDA is {word!r}; write 1 to build llama-server with CUDA, or unset it")
    return word == "1"


def compiler() -> Path:
    """nvcc. Raises CudaMissing."""
    for name in (os.environ.get("CUDACXX"), "nvcc", str(USUAL)):
        if name and (found := shutil.which(name)):
            return Path(found)
    raise CudaMissing(
        "no nvcc found, the CUDA compiler; install NVIDIA's CUDA toolkit (apt-get install nvidia-cuda-toolkit), "
        "or say where it is: CUDACXX=/path/to/nvcc"
    )


def release() -> str:
    """The compiler's, such as `13.0`: what it makes runs with that release's libraries. Raises CudaMissing."""
    nvcc = compiler()
    found = re.search(r"release (\d+\.\d+)", _printed(str(nvcc), "--version"))
    if not found:
        raise CudaMissing(f"{nvcc} does not tell its release; name one that works: CUDACXX=/path/to/nvcc")
    return found[1]


def cmake_args() -> list[str]:
    """For the GPUs of this machine, unless CMAKE_ARGS say for which. Raises CudaMissing where there are none."""
    if ARCHITECTURES in os.environ.get("CMAKE_ARGS", ""):
        return ["-DGGML_CUDA=ON"]
    printed = _printed("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
    found = {int(major + minor) for major, minor in re.findall(r"^(\d+)\.(\d)\s*$", printed, re.MULTILINE)}
    if not found:
        raise CudaMissing(
            "nvidia-smi tells of no GPU here to build for; say for which: "
            f"CMAKE_ARGS=-D{ARCHITECTURES}=90 (89: RTX 40, 90: H100, 120: RTX 50)"
        )
    return ["-DGGML_CUDA=ON", f"-D{ARCHITECTURES}={';'.join(f'{number}-real' for number in sorted(found))}"]


def _printed(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
