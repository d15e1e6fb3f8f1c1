"""Running a `waypost` command to its end, for tests of what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import waypost
from tests.programs import ROOT

_LIMIT_S = 240  # for a command that loads models, beside other tests that do


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and what it printed."""

    status: int
    out: str
    err: str


def run(cwd: Path, *words: str, env: Mapping[str, str] | None = None, toml: str | None = None) -> Ended:
    """A command in a folder of its own, with nothing of ours in the environment but `env`."""
    if toml is not None:
        (cwd / "waypost.toml").write_text(toml)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    environment = {**inherited, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(cwd), **(env or {})}
    command = [sys.executable, "-m", "waypost", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=_LIMIT_S)
    return Ended(done.returncode, done.stdout, done.stderr)


def here(capsys: pytest.CaptureFixture[str], *words: str) -> Ended:
    """The same in this process, for commands that end before they begin."""
    try:
        status = waypost.main(list(words))
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    printed = capsys.readouterr()
    return Ended(status, printed.out, printed.err)
