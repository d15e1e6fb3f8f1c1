"""The wheels of the engines: by what they are told apart, and how set-ups that build at once share them.

None is built here; that `make test` could start at all shows that they were.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import pytest

from tests.programs import ROOT

SCRIPTS = ROOT / "scripts"
RECIPES = {"llama": "llama-cpp-python", "sd": "stable-diffusion-cpp-python"}


def wheel(
    command: str, recipe: str = "llama", env: Mapping[str, str | Path] | None = None, scripts: Path = SCRIPTS
) -> subprocess.CompletedProcess[str]:
    clean = {**os.environ, "CMAKE_ARGS": "", "WAYPOST_CUDA": "", "WAYPOST_PORTABLE": ""}
    merged = {**clean, **{name: str(value) for name, value in (env or {}).items()}}
    words = [sys.executable, scripts / "wheels.py", command, recipe]
    return subprocess.run(words, env=merged, cwd=ROOT, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_wheel_key_follows_patch_and_arguments(tmp_path: Path, recipe: str) -> None:
    key = wheel("key", recipe).stdout
    assert re.fullmatch(r"[0-9a-f]{16}\n", key)
    assert wheel("key", recipe).stdout == key
    assert wheel("key", recipe, {"CMAKE_ARGS": "-DGGML_CUDA=ON"}).stdout != key
    copy = shutil.copytree(SCRIPTS, tmp_path / "scripts")
    assert wheel("key", recipe, scripts=copy).stdout == key
    for file in (next(copy.glob(f"{recipe}/*.patch")), copy / recipe / "cmake-args.txt"):
        before = wheel("key", recipe, scripts=copy).stdout
        file.write_text(file.read_text() + "-DONE_MORE=ON\n")
        assert wheel("key", recipe, scripts=copy).stdout not in ("", before)


@pytest.fixture
def cuda(tmp_path: Path) -> dict[str, str | Path]:
    """A machine with a CUDA compiler and two GPUs, as far as set-up asks."""
    folder = tmp_path / "cuda"
    folder.mkdir()
    program(folder / "nvcc", "echo 'Cuda compilation tools, release 12.8, V12.8.93'")
    program(folder / "nvidia-smi", "printf '9.0\\n8.9\\n9.0\\n'")
    return {"WAYPOST_CUDA": "1", "CUDACXX": folder / "nvcc", "PATH": f"{folder}:/usr/bin:/bin"}


def program(file: Path, words: str) -> None:
    file.write_text(f"#!/bin/sh\n{words}\n")
    file.chmod(0o755)


def cmake_args(env: Mapping[str, str | Path]) -> str:
    merged = {
        **os.environ,
        "CMAKE_ARGS": "",
        "WAYPOST_PORTABLE": "",
        **{name: str(value) for name, value in env.items()},
    }
    words = "import wheels; print(wheels.Recipe('llama').cmake_args)"
    return subprocess.check_output([sys.executable, "-c", words], env=merged, cwd=SCRIPTS, text=True, timeout=240)


def test_a_build_with_cuda_is_another_wheel_and_for_the_gpus_that_are_there(cuda: dict[str, str | Path]) -> None:
    plain, with_cuda = wheel("key").stdout, wheel("key", env=cuda).stdout
    assert re.fullmatch(r"[0-9a-f]{16}\n", with_cuda)
    assert with_cuda != plain
    assert wheel("key", env={**cuda, "WAYPOST_CUDA": "0"}).stdout == plain
    assert wheel("key", "sd", cuda).stdout == wheel("key", "sd").stdout
    assert cmake_args(cuda).endswith(" -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=89-real;90-real\n")
    folder = Path(cuda["CUDACXX"]).parent
    program(folder / "nvidia-smi", "echo 12.0")
    other_gpu = wheel("key", env=cuda).stdout
    program(folder / "nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")
    other_release = wheel("key", env=cuda).stdout
    assert len({plain, with_cuda, other_gpu, other_release}) == 4


def test_a_build_with_cuda_for_other_gpus_than_are_there(cuda: dict[str, str | Path]) -> None:
    program(Path(cuda["CUDACXX"]).parent / "nvidia-smi", "echo 'No devices were found'; exit 6")
    done = wheel("key", env=cuda)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("waypost: nvidia-smi tells of no GPU here to build for; say for which: CMAKE_ARGS=-D")
    own = {**cuda, "CMAKE_ARGS": "-DCMAKE_CUDA_ARCHITECTURES=90"}
    assert wheel("key", env=own).returncode == 0
    assert cmake_args(own).endswith(" -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=90\n")


@pytest.mark.parametrize("command", ["key", "find", "build"])
def test_a_build_with_cuda_without_its_compiler_is_one_line(
    tmp_path: Path, cuda: dict[str, str | Path], command: str
) -> None:
    copy = shutil.copytree(SCRIPTS, tmp_path / "scripts")
    usual = (copy / "cuda.py").read_text()
    assert "/usr/local/cuda/bin/nvcc" in usual
    (copy / "cuda.py").write_text(usual.replace("/usr/local/cuda/bin/nvcc", "/nowhere/nvcc"))
    for tool in (Path(cuda["CUDACXX"]), Path(cuda["CUDACXX"]).with_name("nvidia-smi")):
        tool.rename(tmp_path / tool.name)
    lacking = {**cuda, "PATH": Path(cuda["CUDACXX"]).parent, "CMAKE_ARGS": "-DCMAKE_CUDA_ARCHITECTURES=90"}
    done = wheel(command, env={**lacking, "XDG_CACHE_HOME": tmp_path}, scripts=copy)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("waypost: no nvcc found, the CUDA compiler; install NVIDIA's CUDA toolkit (apt-get ")


def test_cuda_is_wanted_or_not() -> None:
    done = wheel("key", env={"WAYPOST_CUDA": "yes"})
    line = "waypost: WAYPOST_CUDA is 'yes'; write 1 to build llama-server with CUDA, or unset it\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


PORTABLE = {"WAYPOST_PORTABLE": "1"}


def test_a_portable_build_is_another_wheel_and_the_same_on_every_processor(tmp_path: Path) -> None:
    copy = shutil.copytree(SCRIPTS, tmp_path / "scripts")
    portable = wheel("key", env=PORTABLE).stdout
    assert re.fullmatch(r"[0-9a-f]{16}\n", portable)
    assert portable != wheel("key").stdout
    assert wheel("key", "sd", PORTABLE).stdout == wheel("key", "sd").stdout
    text = (copy / "wheels.py").read_text()
    (tmp_path / "cpuinfo").write_text("flags : sse2\n")
    (copy / "wheels.py").write_text(text.replace("/proc/cpuinfo", str(tmp_path / "cpuinfo")))
    assert wheel("key", env=PORTABLE, scripts=copy).stdout == portable
    assert wheel("key", scripts=copy).stdout != wheel("key").stdout


def test_a_portable_build_can_be_one_for_gpus(cuda: dict[str, str | Path]) -> None:
    args = cmake_args({**cuda, **PORTABLE})
    assert " -DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DGGML_CUDA=ON " in args


def test_portable_is_wanted_or_not() -> None:
    done = wheel("key", env={"WAYPOST_PORTABLE": "yes"})
    line = "waypost: WAYPOST_PORTABLE is 'yes'; write 1 to build for any x86-64 processor, or unset it\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_each_engine_has_a_key_of_its_own() -> None:
    assert len({wheel("key", recipe).stdout for recipe in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_build_that_fails_leaves_no_wheel_and_names_its_log(tmp_path: Path, recipe: str) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}
    half = tmp_path / "waypost" / "wheels" / ".building-left-over"
    half.mkdir(parents=True)
    (half / "half.whl").touch()
    done = wheel("build", recipe, {**offline, "XDG_CACHE_HOME": tmp_path})
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    log = re.fullmatch(r"waypost: fetching [a-z-]+\.cpp failed \(exit status 1\); the whole log: (.*)", last)
    assert log
    assert RECIPES[recipe] in Path(log[1]).read_text()
    assert not list(half.parent.glob(".building-*"))
    assert wheel("find", recipe, {"XDG_CACHE_HOME": tmp_path}).returncode == 1


@pytest.fixture
def building(tmp_path: Path) -> Iterator[IO[str]]:
    """A cache, here as if another set-up were building in it; closing the lock ends that."""
    wheels = tmp_path / "waypost" / "wheels"
    wheels.mkdir(parents=True)
    with (wheels / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def put_wheel(cache: Path, recipe: str) -> Path:
    made = cache / "waypost" / "wheels" / wheel("key", recipe).stdout.strip() / "made.whl"
    made.parent.mkdir()
    made.touch()
    return made


def test_a_second_build_waits_for_the_first_and_takes_its_wheel(tmp_path: Path, building: IO[str]) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "CMAKE_ARGS": ""}
    command = [sys.executable, str(SCRIPTS / "wheels.py"), "build", "llama"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
        assert second.stderr
        assert "waiting for it" in second.stderr.readline()
        made = put_wheel(tmp_path, "llama")
        building.close()
        said, _ = second.communicate(timeout=20)
    assert (second.returncode, said) == (0, f"{made}\n")


def test_a_wheel_that_is_there_waits_for_no_build(tmp_path: Path, building: IO[str]) -> None:
    made = put_wheel(tmp_path, "sd")
    done = wheel("build", "sd", {"XDG_CACHE_HOME": tmp_path})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{made}\n", "")
    assert not building.closed


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_release_of_an_engine_is_the_same_everywhere(recipe: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    name = RECIPES[recipe]
    pinned = next(entry for entry in (*extras["node"], *extras["images"]) if entry.startswith(f"{name}=="))
    assert f"\n{pinned} --hash=sha256:" in (SCRIPTS / recipe / "requirements.txt").read_text()
