"""The section that bench.llama puts into a file of results: the table, and what it was measured on and with.

Not here: the table itself (llama_table).
"""

from __future__ import annotations

import datetime

TITLE = "## Real engine"


def report(table: str, command: str, machine: str, setting: str, shown: str, versions: str) -> str:
    """The section, which begins with TITLE. `shown` is the engine's command line."""
    now = datetime.datetime.now(datetime.UTC)
    lines = [
        TITLE, "", f"`{command}`, {now:%Y-%m-%d %H:%M} UTC. {machine}.", "", setting, "", table, "",
        f"- The engine, in both: `{shown}`", f"- {versions}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
