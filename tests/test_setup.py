"""The set-up scripts, run as they are run: what they say on a machine that lacks something, and what they keep.

The engines are not built here; that `make test` could start at all shows that they were.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
TOOLS = ("c++", "cmake", "make", "patch")


def run(command: Sequence[str | Path], env: Mapping[str, str | Path] | None = None) -> subprocess.CompletedProcess[str]:
    merged = {**os.environ, **{name: str(value) for name, value in (env or {}).items()}}
    return subprocess.run(command, env=merged, cwd=ROOT, capture_output=True, text=True, timeout=240)


def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH of one folder, with everything that set-up asks for; tests take things away."""
    folder = tmp_path / "bin"
    folder.mkdir()
    df = shutil.which("df")
    assert df
    (folder / "df").symlink_to(df)
    (folder / "python3").symlink_to(sys.executable)
    for tool in TOOLS:
        (folder / tool).symlink_to("/bin/true")
    return folder


def prerequisites(machine: Path, *what: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": str(machine), "PYTHON": "", "CXX": "", **env}
    return run(["/bin/bash", SCRIPTS / "prerequisites.sh", *(what or ("build",))], clean)


def test_a_machine_with_everything_passes_in_silence(machine: Path) -> None:
    done = prerequisites(machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (["c++"], "waypost: no C++ compiler found; run: apt-get install g++\n"),
        (["cmake"], "waypost: no cmake found; run: apt-get install cmake\n"),
        (["patch"], "waypost: no patch found; run: apt-get install patch\n"),
        (["c++", "cmake"], "waypost: no C++ compiler, no cmake found; run: apt-get install g++ cmake\n"),
    ],
)
def test_a_missing_tool_is_one_line_that_says_what_to_do(machine: Path, missing: list[str], line: str) -> None:
    for tool in missing:
        (machine / tool).unlink()
    done = prerequisites(machine)
    assert (done.returncode, done.stderr) == (1, line)


def test_no_compiler_is_needed_where_the_wheel_is_there(machine: Path) -> None:
    for tool in TOOLS:
        (machine / tool).unlink()
    assert prerequisites(machine, "").returncode == 0
    assert prerequisites(machine, "all").returncode == 0


def test_another_compiler_can_be_named(machine: Path) -> None:
    (machine / "c++").rename(machine / "my-c++")
    assert prerequisites(machine, CXX="my-c++").returncode == 0


def test_missing_python_is_one_line(machine: Path) -> None:
    (machine / "python3").unlink()
    done = prerequisites(machine)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "apt-get install python3 python3-venv" in done.stderr


@pytest.mark.parametrize(("lacks", "hint"), [("version_info", "3.11 or later"), ("ensurepip", "python3-venv")])
def test_a_python_that_will_not_do_is_one_line(machine: Path, lacks: str, hint: str) -> None:
    (machine / "python3").unlink()
    (machine / "python3").write_text(f'#!/bin/sh\ncase "$2" in *{lacks}*) exit 1;; esac\n')
    (machine / "python3").chmod(0o755)
    done = prerequisites(machine)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert hint in done.stderr


def test_too_little_disk_is_one_line_with_both_figures(machine: Path, tmp_path: Path) -> None:
    cache = tmp_path / "not" / "there"
    done = prerequisites(machine, WAYPOST_SETUP_DISK_MIB="999999999", XDG_CACHE_HOME=str(cache))
    assert done.returncode == 1
    expected = (
        rf"waypost: only \d+ MiB free under {tmp_path}, 999999999 MiB are needed to build the engines; free some .*\n"
    )
    assert re.fullmatch(expected, done.stderr)


def progress(log: Path, *command: str, every_s: str = "30") -> list[str | Path]:
    return [sys.executable, SCRIPTS / "progress.py", "--every-s", every_s, "a step", log, *command]


def test_progress_counts_what_ninja_counts(tmp_path: Path) -> None:
    done = run(progress(tmp_path / "log", "/bin/sh", "-c", "echo '[3/4] c++ a.cpp'; sleep 1.2", every_s="0"))
    assert done.returncode == 0
    assert re.search(r"^waypost: a step   75 %  0:0\d$", done.stderr, re.MULTILINE)
    assert done.stderr.splitlines()[0] == "waypost: a step ..."
    assert re.fullmatch(r"waypost: a step: done after 0:0\d", done.stderr.splitlines()[-1])


def test_a_failed_step_shows_the_first_error_and_the_end(tmp_path: Path) -> None:
    program = "echo 'a.cpp:1: error: no such thing'; seq 100; exit 3"
    done = run(progress(tmp_path / "log", "/bin/sh", "-c", program))
    assert done.returncode == 1
    assert "  | a.cpp:1: error: no such thing\n" in done.stderr
    assert "  | 100\n" in done.stderr
    assert "  | 50\n" not in done.stderr
    assert done.stderr.endswith(f"waypost: a step failed (exit status 3); the whole log: {tmp_path / 'log'}\n")


def test_a_stopped_step_leaves_nothing_running(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = f"sleep 60 & echo $! > {pids}.new; mv {pids}.new {pids}; wait"
    with subprocess.Popen(progress(tmp_path / "log", "/bin/sh", "-c", program), stderr=subprocess.DEVNULL) as step:
        until(pids.exists)
        step.send_signal(signal.SIGTERM)
        assert step.wait(timeout=20) == 128 + signal.SIGTERM
    until(lambda: not runs(int(pids.read_text())))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not (ROOT / ".venv/.waypost-stamp-all").exists(), reason="this checkout was not set up by make")
@pytest.mark.parametrize("layers", [(), ("all", "dev")])
def test_a_set_up_checkout_is_not_set_up_again(layers: tuple[str, ...]) -> None:
    """Without an index nothing could be installed, and nothing is said: it was all there."""
    done = run([SCRIPTS / "environment.sh", *layers], {"PIP_NO_INDEX": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_layer_is_one_line() -> None:
    done = run([SCRIPTS / "environment.sh", "everything"])
    assert (done.returncode, done.stderr) == (2, "usage: scripts/environment.sh [all] [dev]\n")


@pytest.mark.parametrize(("given", "asked"), [("", ""), ("--once", ""), ("--all", "all"), ("--all --once", "all")])
def test_make_up_sets_up_what_its_arguments_need(given: str, asked: str) -> None:
    done = run(
        ["make", "--no-print-directory", "--dry-run", "up", f"ARGS={given}"], {"MAKEFLAGS": "", "MAKELEVEL": "0"}
    )
    assert done.stdout.split("\n")[:2] == [f"scripts/environment.sh {asked}", f".venv/bin/waypost up {given}"]


def test_a_set_up_with_cuda_that_cannot_be_says_so_once(tmp_path: Path) -> None:
    """Before anything is made."""
    done = run([SCRIPTS / "environment.sh"], {"WAYPOST_VENV": tmp_path / "venv", "WAYPOST_CUDA": "perhaps"})
    line = "waypost: WAYPOST_CUDA is 'perhaps'; write 1 to build llama-server with CUDA, or unset it\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("nvidia_smi", "why"),
    [
        (None, "nvidia-smi is not found"),
        ("echo No devices found.", "nvidia-smi -L lists none"),
        (
            "echo 'It could not reach the driver.'; echo More; exit 9",
            "nvidia-smi -L fails: It could not reach the driver.",
        ),
    ],
)
def test_without_an_nvidia_gpu_its_tests_say_that_they_did_not_run(
    tmp_path: Path, nvidia_smi: str | None, why: str
) -> None:
    for tool in ("bash", "dirname", "timeout"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    if nvidia_smi:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{nvidia_smi}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    make = [str(shutil.which("make")), "--no-print-directory", "gpu-test"]
    done = run(make, {"PATH": tmp_path, "MAKEFLAGS": "", "MAKELEVEL": "0"})
    line = f"waypost: the GPU tests did not run: no NVIDIA GPU here ({why})\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")


def test_every_target_of_make_that_is_for_people_is_in_its_help() -> None:
    shown = run(["make", "--no-print-directory", "help"], {"MAKEFLAGS": "", "MAKELEVEL": "0"}).stdout
    for target in ("up", "test", "soak", "gpu-test", "bench-footprint", "bench-switching", "lint"):
        assert re.search(rf"^make {target} +\S", shown, re.MULTILINE)


def test_long_checks_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    """Also when their file is named; `-m soak`, as `make soak` has it, runs them."""
    file = tmp_path / "test_one.py"
    file.write_text("import pytest\n@pytest.mark.soak\ndef test_long(): pass\ndef test_short(): pass\n")
    pytest_run = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", "-q", file]
    assert "1 passed, 1 deselected" in run(pytest_run).stdout
    assert "1 passed, 1 deselected" in run([*pytest_run, "-m", "soak"]).stdout


def test_the_models_of_packages_are_pinned_by_hash() -> None:
    for name in ("weights.txt", "weights-all.txt"):
        lines = [line for line in (SCRIPTS / name).read_text().splitlines() if not line.startswith("#")]
        assert lines
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)


def test_the_node_lock_file_names_no_host() -> None:
    packages = json.loads((ROOT / "tests/clients/package-lock.json").read_text())["packages"]
    assert "node_modules/openai" in packages
    assert not [name for name, entry in packages.items() if "resolved" in entry]
