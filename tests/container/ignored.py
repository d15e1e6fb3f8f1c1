"""Which files a .dockerignore lets through to the builder: the last pattern that matches a file or a folder above it
decides, as Docker says. Not here: patterns with `[` or `?`, of which there are none."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath


def passes(path: str, file: Path) -> bool:
    """Whether the builder is given `path`, relative to the folder of `file`."""
    given = True
    for line in file.read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if _matches(path, pattern.removeprefix("!").strip("/")):
            given = pattern.startswith("!")
    return given


def _matches(path: str, pattern: str) -> bool:
    expression = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    whole = PurePosixPath(path)
    above = [str(each) for each in (whole, *whole.parents) if str(each) != "."]
    return any(re.fullmatch(expression, each) for each in above)
