"""Sets up what `waypost up --all` needs, with the set-up of the checkout that it runs from.

Not here: what is installed, and how (scripts).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy.demo import DEMOS, NotInstalled

_ROOT = Path(__file__).parent.parent
_SCRIPT = _ROOT / "scripts" / "environment.sh"
_LOG = _ROOT / ".venv" / "setup.log"
_GRACE_S = 15.0  # to take half-made things away
_STOPS = (signal.SIGTERM, signal.SIGHUP)  # Ctrl-C is a KeyboardInterrupt by itself
_POLL_S = 0.1
_EXTRAS = "waypost[all]"


class InstallFailed(Exception):
    """What the demo needs is not there and was not made; the text says what to do."""


def install_demo() -> None:
    """Bring this checkout's environment up to date; a tenth of a second where it is. Raises InstallFailed.

    Where something came to it, this process starts over, as an interpreter that knows what is installed now.
    """
    lacking = _lacking()
    if not _in_checkout():
        if lacking:
            raise InstallFailed(
                f"--all needs {lacking}, which only a checkout's set-up can make; there, run: make up ARGS=--all "
                f"(or pip install '{_EXTRAS}', and name your own models with --model NAME=URI)"
            )
        return
    if lacking:
        print(f"waypost: --all needs {lacking}; setting up, once, for some minutes", file=sys.stderr, flush=True)
    if status := _run():
        raise InstallFailed(f"the set-up for --all failed with status {status}; above it says why ({_LOG})")
    if lacking:
        if still := _lacking():
            raise InstallFailed(f"the set-up for --all did not make {still}; its log is {_LOG}")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def _lacking() -> str | None:
    try:
        for demo in DEMOS:
            demo.options()
    except NotInstalled as missing:
        return str(missing)
    return None


def _in_checkout() -> bool:
    """Whether the interpreter is that of the environment which the set-up makes."""
    return _SCRIPT.is_file() and Path(sys.prefix).resolve() == (_ROOT / ".venv").resolve()


def _run() -> int:
    """The set-up's exit status. Its lines go to the terminal; a stop ends it, and all that it started."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in _STOPS}
    words = ("setpriv", "--pdeathsig", "TERM", "--", str(_SCRIPT), "all")
    script = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return script.wait()
    finally:
        _end(script)
        for each, handler in before.items():
            signal.signal(each, handler)


def _end(script: subprocess.Popen[bytes]) -> None:
    """The script ends at once, what it started takes half-made things away first: until all of the group is gone."""
    deadline = time.monotonic() + _GRACE_S
    with contextlib.suppress(ProcessLookupError):
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGTERM)
        script.wait(_GRACE_S)
        while time.monotonic() < deadline:
            os.killpg(script.pid, 0)
            time.sleep(_POLL_S)
        os.killpg(script.pid, signal.SIGKILL)
