"""What SSH runs in a machine, whatever it is asked for: the image's own waypost-setup, `journalctl`, nothing else.

A file `fault` in the machine's folder, {"at": "keys" | "setup", "when": "before" | "after", "act": "hold" | "fail" |
"missing"}, is met once; `met` then stands beside it, and a hold lasts until that is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

_SETUPS = (["waypost-setup", "keys"], ["waypost-setup"])


def main() -> None:
    folder, user = Path(sys.argv[1]), sys.argv[2]
    words = os.environ.get("SSH_ORIGINAL_COMMAND", "").split()
    if words in _SETUPS:
        at = "keys" if words[1:] else "setup"
        _fault(folder, at, "before")
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, "SETUP_ROOT": str(folder), "SETUP_USER": user, "PATH": path}
        done = subprocess.run(
            [sys.executable, "-m", "deploy.vm.setup", *words[1:]], env=environment, stdout=subprocess.PIPE
        )
        _fault(folder, at, "after")
        sys.stdout.buffer.write(done.stdout)
        sys.exit(done.returncode)
    if words[:1] == ["journalctl"]:
        lines = (folder / "journal").read_text(errors="replace").splitlines()
        print("\n".join(lines[-int(words[words.index("--lines") + 1]) :]))
        return
    _refuse(f"bash: line 1: {words[:1]}: command not found", 127)


def _fault(folder: Path, at: str, when: str) -> None:
    path = folder / "fault"
    if not path.exists():
        return
    fault = json.loads(path.read_text())
    if (fault["at"], fault["when"]) != (at, when):
        return
    path.rename(folder / "met")
    while fault["act"] == "hold" and (folder / "met").exists():
        time.sleep(0.05)
    if fault["act"] == "missing":
        _refuse("bash: line 1: waypost-setup: command not found", 127)
    if fault["act"] == "fail":
        _refuse("waypost-setup: told to fail", 1)


def _refuse(why: str, status: int) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
