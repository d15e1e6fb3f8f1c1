"""The section that bench.llama puts into a file of results: the table, and what it was measured on and with.

Not here: the table itself (llama_table).
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path

TITLE = "## Real engine"
_TOP = "# Results\n"


def report(table: str, command: str, machine: str, setting: str, shown: str, versions: str) -> str:
    """The section, which begins with TITLE. `shown` is the engine's command line."""
    now = datetime.datetime.now(datetime.UTC)
    lines = [
        TITLE, "", f"`{command}`, {now:%Y-%m-%d %H:%M} UTC. {machine}.", "", setting, "", table, "",
        f"- The engine, in both: `{shown}`", f"- {versions}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def put(file: Path, section: str) -> None:
    """Where the section of the same title was, else behind all others, which stay as they are."""
    text = file.read_text() if file.exists() else _TOP
    title = re.escape(section.partition("\n")[0])
    old = re.search(rf"^{title}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if old is None:
        file.write_text(f"{text.rstrip()}\n\n{section}")
    else:
        file.write_text(text[: old.start()] + section + ("\n" if old.end() < len(text) else "") + text[old.end() :])
