"""A file of results, in which each bench has a section of its own. Not here: what the sections say."""

from __future__ import annotations

import re
from pathlib import Path

_TOP = "# Results\n"


def put(file: Path, section: str) -> None:
    """Where the section of the same title was, else behind all others, which stay as they are."""
    text = file.read_text() if file.exists() else _TOP
    title = re.escape(section.partition("\n")[0])
    old = re.search(rf"^{title}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if old is None:
        file.write_text(f"{text.rstrip()}\n\n{section}")
    else:
        file.write_text(text[: old.start()] + section + ("\n" if old.end() < len(text) else "") + text[old.end() :])
