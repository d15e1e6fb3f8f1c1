"""A page's console blocks: the commands that a reader types, and the shape of what is shown below each. Pure.

`$ ` begins a command, `> ` goes on with it; what follows is what it prints. In that `...` stands for anything, also for
whole lines; keys, digests, times and numbers stand for any of their kind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PART = re.compile(r"<!-- walkthrough: (\w+) -->\n(.*?)<!-- end of walkthrough -->", re.DOTALL)
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_KINDS = (
    (r"0x[0-9a-f]{40}", r"0x[0-9a-f]{40}"),
    (r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])", r"[A-Za-z0-9_-]{43}"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?", r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?"),
    (r"(?<!\w)[0-9a-f]{4,}\.\.\.", r"[0-9a-f]+(?:\.\.\.)?"),
    (r"\.\.\.", ".*"),
    (r"(?<![\w.:])\d+(?:\.\d+)* [KMG]iB", r"[\d.]+ [KMG]iB"),
    (r"(?<![\w.:])\d+(?:\.\d+)*(?![\w:])", r"[\d.]+"),
)
_ANY = re.compile("|".join(f"({shown})" for shown, _ in _KINDS))


@dataclass(frozen=True)
class Step:
    """One command, and the lines that are shown below it; none where nothing is."""

    command: str
    shown: Sequence[str]

    def is_shape_of(self, printed: str) -> bool:
        """Whether that is what the page shows."""
        if not self.shown:
            return True
        pattern = r"\n".join(_pattern(line) for line in self.shown)
        return re.fullmatch(pattern, "\n".join(_squeezed(line) for line in printed.strip().splitlines())) is not None


def steps(page: Path, part: str) -> list[Step]:
    """Of that part of the page, in order. Raises KeyError where there is none."""
    text = dict(_PART.findall(page.read_text()))[part]
    return [step for block in _BLOCK.findall(text) for step in _steps(block)]


def _steps(block: str) -> list[Step]:
    found: list[tuple[list[str], list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith(">") and not found[-1][1]:
            found[-1][0].append(line[1:].removeprefix(" "))
        else:
            found[-1][1].append(line)
    return [Step("\n".join(command), shown) for command, shown in found]


def _pattern(line: str) -> str:
    if line.strip() == "...":
        return r"(?:.|\n)*"
    line, made, at = _squeezed(line), "", 0
    for match in _ANY.finditer(line):
        assert match.lastindex is not None
        made += re.escape(line[at : match.start()]) + _KINDS[match.lastindex - 1][1]
        at = match.end()
    return made + re.escape(line[at:])


def _squeezed(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()
