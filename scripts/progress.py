"""Runs one command, keeps its output in a log, and shows on stderr how far it is.

On a terminal that is one line which is rewritten, elsewhere a line now and then. If the command fails, the telling
lines of the log are shown and the log is named. What the command does is not known here, but for the counters of ninja
and make.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

POLL_S = 0.5
GRACE_S = 10.0
LINE_EVERY_S = 30.0
NINJA_STEP = re.compile(rb"^\s*\[(\d+)/(\d+)\]", re.MULTILINE)
MAKE_STEP = re.compile(rb"^\s*\[ *(\d+)%\]", re.MULTILINE)
ERROR_LINE = re.compile(r"\b(error|ERROR)\b\s*:|CMake Error|No space left")


class StepFailed(Exception):
    """The command ended with another status than 0; what to show is already on stderr."""


def run_shown(
    title: str,
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    every_s: float = LINE_EVERY_S,
) -> None:
    """Run `command` to its end, its output appended to `log`; raises StepFailed when it fails."""
    display = _Display(title, every_s)
    start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as sink:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, start_new_session=True
        )
    try:
        status = _follow(child, log, start, display)
    finally:
        _end_group(child)
    if status:
        display.end("failed")
        _explain(title, status, log, start)
        raise StepFailed(title)
    display.end("done")


class _Display:
    """One step's line on stderr."""

    def __init__(self, title: str, every_s: float) -> None:
        self._title = title
        self._every_s = every_s
        self._terminal = sys.stderr.isatty()
        self._started = self._said = time.monotonic()
        if not self._terminal:
            self._say(f"{title} ...")

    def update(self, percent: int | None) -> None:
        done = "" if percent is None else f"  {percent:3d} %"
        text = f"{self._title}{done}  {self._elapsed()}"
        if self._terminal:
            print(f"\r\x1b[Kwaypost: {text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said >= self._every_s:
            self._say(text)

    def end(self, outcome: str) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
        self._say(f"{self._title}: {outcome} after {self._elapsed()}")

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        print(f"waypost: {text}", file=sys.stderr, flush=True)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes}:{seconds:02d}"


def _follow(child: subprocess.Popen[bytes], log: Path, start: int, display: _Display) -> int:
    percent: int | None = None
    with log.open("rb") as source:
        source.seek(start)
        while True:
            display.update(percent)
            try:
                return child.wait(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                percent = _last_percent(source.read(), percent)


def _last_percent(output: bytes, before: int | None) -> int | None:
    if steps := NINJA_STEP.findall(output):
        done, total = map(int, steps[-1])
        return 100 * done // max(total, 1)
    if percents := MAKE_STEP.findall(output):
        return int(percents[-1])
    return before


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End a command that still runs (Ctrl-C), and the compilers it started."""
    if child.poll() is not None:
        return
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _explain(title: str, status: int, log: Path, start: int) -> None:
    with log.open("rb") as source:
        source.seek(start)
        lines = source.read().decode(errors="replace").splitlines()
    tail = lines[-12:]
    for line in [line for line in lines[:-12] if ERROR_LINE.search(line)][:5] + tail:
        print(f"  | {line[:200]}", file=sys.stderr)
    print(f"waypost: {title} failed (exit status {status}); the whole log: {log}", file=sys.stderr)


def leave_on_signals() -> None:
    """Make SIGTERM and SIGHUP unwind like Ctrl-C does, so that children are ended and half-made things removed."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def main() -> int:
    """`progress.py TITLE LOG COMMAND...`"""
    parser = argparse.ArgumentParser(description="run a command and show how far it is")
    parser.add_argument("--every-s", type=float, default=LINE_EVERY_S, help="seconds between lines off a terminal")
    parser.add_argument("title")
    parser.add_argument("log", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    leave_on_signals()
    try:
        run_shown(options.title, options.command, options.log, every_s=options.every_s)
    except StepFailed:
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
