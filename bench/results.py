"""A file of results, in which each bench has a section of its own, and the option that names it.

Not here: what the sections say.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path

_TOP = "# Results\n"


def add_option(parser: argparse.ArgumentParser) -> None:
    """--write FILE."""
    what = "put the section there, in the place of the last one"
    parser.add_argument("--write", type=_file, metavar="FILE", help=what)


def _file(given: str) -> Path:
    """Before half an hour has been spent."""
    file = Path(given)
    if not file.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{file}: its folder is not there; make it first")
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{file} is a folder; name a file in it")
    return file


def command(module: str) -> str:
    """How this bench was started, to start it again."""
    return f"python -m {module} {shlex.join(sys.argv[1:])}".strip()


def put(file: Path, section: str) -> None:
    """Where the section of the same title was, else behind all others, which stay as they are."""
    text = file.read_text() if file.exists() else _TOP
    title = re.escape(section.partition("\n")[0])
    old = re.search(rf"^{title}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if old is None:
        file.write_text(f"{text.rstrip()}\n\n{section}")
    else:
        file.write_text(text[: old.start()] + section + ("\n" if old.end() < len(text) else "") + text[old.end() :])
