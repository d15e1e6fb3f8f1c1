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
    merged = {**os.environ, "CMAKE_ARGS": "", **{name: str(value) for name, value in (env or {}).items()}}
    words = [sys.executable, scripts / "wheels.py", command, recipe]
    return subprocess.run(words, env=merged, cwd=ROOT, capture_output=True, text=True, timeout=60)


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
