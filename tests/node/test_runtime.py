"""The private folder of a run: made, gone at the end, swept when a run was killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.runtime import runtime_folder
from tests.programs import ROOT


@pytest.fixture
def base() -> Iterator[Path]:
    """A base folder with a path short enough for sockets."""
    folder = Path(f"/tmp/wp-test-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_it_is_private_and_gone_at_the_end(base: Path) -> None:
    with runtime_folder(str(base)) as folder:
        assert folder.is_relative_to(base)
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "0.sock").write_text("")
    assert not folder.exists()


def test_what_a_killed_run_left_is_swept_and_what_lives_is_not(base: Path) -> None:
    script = (
        "import os, sys\nfrom node.runtime import runtime_folder\n"
        "with runtime_folder(sys.argv[1]) as folder:\n    print(folder, flush=True)\n    sys.stdin.read()"
    )
    command, environment = [sys.executable, "-c", script, str(base)], {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    runs = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) for _ in range(2)]
    killed, living = (Path(run.stdout.readline().strip()) for run in runs if run.stdout)
    runs[0].kill()
    runs[0].wait()
    with runtime_folder(str(base)):
        assert not killed.exists()
        assert living.exists()
    runs[1].communicate("")
    assert not living.exists()


def test_a_base_that_is_too_long_or_holds_a_comma_is_passed_over(tmp_path: Path) -> None:
    for name in ("x" * 90, "a,b"):
        folder = tmp_path / name
        folder.mkdir()
        with runtime_folder(str(folder)) as made:
            assert not made.is_relative_to(folder)
            assert len(bytes(made / "999.sock")) <= 107
