"""A stand-in for systemctl, as a program on PATH: it keeps one unit up as `waypost.service` says, below UPGRADE_ROOT.

`restart`, `start`, `stop` and `is-active` of that unit. As with the real unit, the agent is started again when it ends,
but for exit status 2; a stop is SIGTERM, and waits; each start reads anew which release the link names. What it is
asked is kept in `systemctl.log`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["UPGRADE_ROOT"])
STATE, PID, LOG = ROOT / "unit.state", ROOT / "unit.pid", ROOT / "systemctl.log"
UNIT = "waypost.service"
_RESTART_S = 0.2
_STOP_S = 60.0


def main() -> int:
    verb, unit = sys.argv[1:]
    with LOG.open("a") as log:
        log.write(f"{verb} {unit}\n")
    if unit != UNIT:
        print(f"Unit {unit} not found.", file=sys.stderr)
        return 5
    if verb == "is-active":
        state = STATE.read_text() if STATE.exists() else "inactive"
        print(state)
        return 0 if state == "active" else 3
    if verb not in ("restart", "start", "stop"):
        print(f"Unknown command verb '{verb}'.", file=sys.stderr)
        return 1
    if verb != "start":
        _stop()
    if verb != "stop":
        _start()
    return 0


def _stop() -> None:
    if not PID.exists():
        return
    keeper = int(PID.read_text())
    os.kill(keeper, signal.SIGTERM)
    ends = time.monotonic() + _STOP_S
    while PID.exists() and time.monotonic() < ends:
        time.sleep(0.02)


def _start() -> None:
    if PID.exists():
        return
    reads, writes = os.pipe()
    if os.fork():
        os.close(writes)
        os.read(reads, 1)
        return
    os.setsid()
    os.close(reads)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    PID.write_text(str(os.getpid()))
    STATE.write_text("active")
    os.write(writes, b"1")
    os.close(writes)
    _keep()


def _keep() -> None:
    """The unit's own life, in a process of its own."""
    stopping = False
    agent: subprocess.Popen[bytes] | None = None

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        if agent is not None:
            agent.terminate()

    signal.signal(signal.SIGTERM, stop)
    lines = (ROOT / "etc/waypost/environment").read_text().split()
    env = {**os.environ, **dict(line.split("=", 1) for line in lines)}
    command = [
        str(ROOT / "opt/waypost/bin/waypost"),
        "node",
        "serve",
        "--config",
        str(ROOT / "etc/waypost/waypost.toml"),
    ]
    while True:
        with (ROOT / "journal.txt").open("ab") as journal:
            agent = subprocess.Popen(command, stdout=journal, stderr=journal, env=env, cwd=ROOT / "var/lib/waypost")
        STATE.write_text("active")
        if stopping:
            agent.terminate()
        status = agent.wait()
        if stopping or status == 2:
            STATE.write_text("inactive" if stopping else "failed")
            PID.unlink()
            os._exit(0)
        STATE.write_text("activating")
        time.sleep(_RESTART_S)


if __name__ == "__main__":
    sys.exit(main())
