"""Running the tools that make an image: one line a step with its seconds, what they say in a log."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_TAIL_LINES = 15


class StepFailed(Exception):
    """A tool failed; the text says which, and holds the last lines that it wrote."""


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """One line, when it is done."""
    started = time.monotonic()
    yield
    print(f"waypost: {title:<48} {time.monotonic() - started:6.1f} s", file=sys.stderr, flush=True)


def run(*words: str, log: Path, env: Mapping[str, str] | None = None) -> None:
    """A tool, to its end, without input. `env` is added to this process's own. Raises StepFailed."""
    with log.open("ab") as out:
        begin = out.tell()
        out.write(f"+ {' '.join(words)}\n".encode())
        out.flush()
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **(env or {})}
            )
        except OSError as error:
            raise StepFailed(f"{words[0]}: {error.strerror}; scripts/vm_tools.sh installs what is needed") from error
    if done.returncode:
        said = log.read_bytes()[begin:].decode(errors="replace").splitlines()
        last = "\n  ".join(said[-_TAIL_LINES:])
        raise StepFailed(f"{words[0]} failed with status {done.returncode}; the whole log is {log}\n  {last}")
