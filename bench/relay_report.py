"""What bench.relay has found, as a section of a file: tables, machine, date, command, versions, settings.

Not here: the tables themselves (relay_table).
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from bench.relay_phases import Load
from bench.relay_programs import NotToBeHad
from bench.relay_targets import Target

TITLE = "## Relays side by side"
_COUNTED = """\
- The first token is the first event with text, whoever is asked; the engine sends it at once, and its role before it.
- An answer counts if it is what was asked for: as many events with text, a finish_reason, `[DONE]`, no error event, the
  end of the body. All else is an error, and so is a client that was given nothing in a minute, or nothing more in a
  whole window (silent)."""


def report(targets: Sequence[Target], tables: str, notes: Sequence[str], command: str, runs: int) -> str:
    """The section, which begins with TITLE."""
    now = datetime.datetime.now(datetime.UTC)
    said = f"`{command}`, {now:%Y-%m-%d %H:%M} UTC. {machine()}. Medians of {runs} runs by turns."
    lines = [TITLE, "", said, "", tables, "", _COUNTED]
    lines += ["", "| | version | set up |", "|---|---|---|"]
    lines += [f"| {target.name} | {_version(target)} | {target.what}{_less(target)} |" for target in targets]
    lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def machine() -> str:
    """Processor, cores, memory, kernel and what runs the programs."""
    info = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", info)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{name[1] if name else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    )


def _version(target: Target) -> str:
    try:
        return target.version()
    except NotToBeHad:
        return "not here"


def _less(target: Target) -> str:
    """Where less is asked of it than of nginx."""
    load = target.load
    if load == Load():
        return ""
    return f"; asked {load.streams} streams, {load.eager} eager ones, a crowd of {load.crowd:,}"
